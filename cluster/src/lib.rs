//! How the nodes of a cluster work together: each finds the owner of a partition in a [`directory`], which follows what
//! owners [`announce`](announcer) on a small compacted topic, and has it decide by a request over HTTP/2 ([`client`],
//! [`server`], [`wire`]).
//!
//! All of it is a hint. A stale entry of the directory costs a detour; that no command is decided twice, or by two owners,
//! is the log's doing.

mod announcer;
mod client;
mod directory;
pub mod server;
pub mod wire;

use std::sync::Arc;

use commands::Lookup;
use commands::peers::{Answer, Boxed, Forwarded, Peers, Trouble};
use eventlog::{EventLog, LogError, Partition};
use schemas::Term;
use tokio::time::Instant;
use uuid::Uuid;

use announcer::Announcer;
use client::Client;
pub use directory::{Directory, Entry};

/// This node among the others.
pub struct Cluster {
    directory: Arc<Directory>,
    announcer: Option<Announcer>,
    client: Client,
}

impl Cluster {
    /// Follows the owners of the cluster on `log` as `node`. With an `address` it says there what this node owns, at which
    /// address other nodes reach it; a gateway owns nothing and has none.
    ///
    /// # Errors
    /// When the log or the operating system refuses.
    pub fn join(log: &Arc<dyn EventLog>, node: &str, address: Option<&str>) -> Result<Self, LogError> {
        let announcer = address.map(|address| Announcer::start(Arc::clone(log), node, address)).transpose()?;
        let answer = announcer.as_ref().map(Announcer::heard);
        let directory = Directory::follow(Arc::clone(log), node, answer)?;
        Ok(Self { directory, announcer, client: Client::new()? })
    }

    /// Who owns what, as far as was heard.
    #[must_use]
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// What the node at `address` says that it owns.
    ///
    /// # Errors
    /// When it does not answer, in words.
    pub async fn owned(&self, address: &str) -> Result<Vec<wire::Assigned>, String> {
        self.client.owned(address).await.map_err(|error| error.to_string())
    }
}

impl Peers for Cluster {
    fn owner(&self, partition: Partition) -> Option<Arc<str>> {
        self.directory.elsewhere(partition)
    }

    fn moved<'a>(&'a self, partition: Partition, address: &'a str) -> Boxed<'a, ()> {
        Box::pin(self.directory.moved(partition, address))
    }

    fn forward<'a>(
        &'a self,
        address: &'a str,
        command: Forwarded,
        deadline: Instant,
    ) -> Boxed<'a, Result<Answer, Trouble>> {
        Box::pin(self.client.deliver(address, command, deadline))
    }

    fn lookup(&self, command_id: Uuid) -> Boxed<'_, Lookup> {
        Box::pin(async move { self.client.lookup(&self.directory.addresses(), command_id).await })
    }

    fn announce(&self, partition: Partition, term: Term) {
        if let Some(announcer) = &self.announcer {
            announcer.announce(partition, term.number);
        }
    }
}
