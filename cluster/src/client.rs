//! Asks other nodes, over HTTP/2: one connection to each carries all requests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use commands::Lookup;
use commands::peers::{Answer, Forwarded, Trouble};
use eventlog::LogError;
use futures::future::join_all;
use tokio::time::Instant;
use uuid::Uuid;

use crate::wire::{Assigned, Command, Known, Reply};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a node that is asked about a command may take.
const LOOKUP: Duration = Duration::from_secs(1);
/// A connection on which nothing comes is tried so often …
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// … and given up after so long.
const ALIVE_WITHIN: Duration = Duration::from_secs(4);

/// Speaks to other nodes.
pub(crate) struct Client(reqwest::Client);

impl Client {
    pub(crate) fn new() -> Result<Self, LogError> {
        let client = reqwest::Client::builder()
            .http2_prior_knowledge()
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(ALIVE_EVERY)
            .http2_keep_alive_timeout(ALIVE_WITHIN)
            .no_proxy()
            .build();
        let failed = |error: reqwest::Error| LogError::Unavailable {
            doing: "making a client for other nodes".into(),
            detail: error.to_string(),
        };
        client.map(Self).map_err(failed)
    }

    pub(crate) async fn deliver(
        &self,
        address: &str,
        command: Forwarded,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let wait = deadline.saturating_duration_since(Instant::now());
        let command = Command::new(command, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let sent = self.0.post(format!("http://{address}/commands")).timeout(wait).json(&command).send().await;
        let answer = match sent.and_then(reqwest::Response::error_for_status) {
            Ok(answer) => answer.json::<Reply>().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(reply) => reply.result(),
            // Nothing was sent.
            Err(error) if error.is_connect() => Err(Trouble::NotOwner),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, address, "a forwarded command");
                Err(Trouble::Unknown)
            }
        }
    }

    /// A node that does not answer may know the command: then it is not known to be absent.
    pub(crate) async fn lookup(&self, addresses: &BTreeSet<Arc<str>>, command_id: Uuid) -> Lookup {
        let ask = |address: &Arc<str>| {
            let request = self.0.get(format!("http://{address}/commands/{command_id}")).timeout(LOOKUP);
            async move { request.send().await?.error_for_status()?.json::<Known>().await }
        };
        let mut found = Lookup::Absent;
        for known in join_all(addresses.iter().map(ask)).await {
            match known.map(Lookup::from) {
                Ok(decided @ Lookup::Decided { .. }) => return decided,
                Ok(Lookup::Absent) => {}
                Ok(Lookup::Pending) | Err(_) => found = Lookup::Pending,
            }
        }
        found
    }

    pub(crate) async fn owned(&self, address: &str) -> Result<Vec<Assigned>, reqwest::Error> {
        let asked = self.0.get(format!("http://{address}/owners")).timeout(LOOKUP).send().await?;
        asked.error_for_status()?.json().await
    }
}
