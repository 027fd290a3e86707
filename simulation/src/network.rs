//! Between nodes: who is said to own what, and commands on their way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use commands::peers::{Answer, Boxed, Forwarded, Peers, Trouble};
use commands::{Local, Lookup};
use eventlog::Partition;
use parking_lot::Mutex;
use schemas::Term;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::random::Random;

/// Clones share.
#[derive(Clone)]
pub(crate) struct Network(Arc<Shared>);

struct Shared {
    random: Random,
    nodes: Mutex<BTreeMap<String, Local>>,
    owners: Mutex<BTreeMap<Partition, (u64, Arc<str>)>>,
    /// Per mille of messages.
    lost: Mutex<u64>,
}

impl Network {
    pub fn new(random: Random, lost: u64) -> Self {
        Self(Arc::new(Shared { random, nodes: Mutex::default(), owners: Mutex::default(), lost: Mutex::new(lost) }))
    }

    /// Nothing is lost any more.
    pub fn heal(&self) {
        *self.0.lost.lock() = 0;
    }

    pub fn up(&self, name: &str, local: Local) {
        self.0.nodes.lock().insert(name.to_owned(), local);
    }

    pub fn down(&self, name: &str) {
        self.0.nodes.lock().remove(name);
    }

    pub fn of(&self, name: &str) -> Seat {
        Seat { network: self.clone(), name: name.into() }
    }

    /// A message takes its time; false when it never arrives.
    async fn carry(&self) -> bool {
        sleep(Duration::from_millis(self.0.random.within(0..6))).await;
        let lost = *self.0.lost.lock();
        !self.0.random.per_mille(lost)
    }
}

/// The network as one node sees it.
pub(crate) struct Seat {
    network: Network,
    name: Arc<str>,
}

impl Peers for Seat {
    fn owner(&self, partition: Partition) -> Option<Arc<str>> {
        let owners = self.network.0.owners.lock();
        owners.get(&partition).map(|(_, owner)| Arc::clone(owner)).filter(|owner| *owner != self.name)
    }

    fn moved<'a>(&'a self, partition: Partition, address: &'a str) -> Boxed<'a, ()> {
        Box::pin(async move {
            while self.owner(partition).is_some_and(|owner| &*owner == address) {
                sleep(Duration::from_millis(5)).await;
            }
        })
    }

    fn forward<'a>(
        &'a self,
        address: &'a str,
        command: Forwarded,
        deadline: Instant,
    ) -> Boxed<'a, Result<Answer, Trouble>> {
        Box::pin(async move {
            let arrived = self.network.carry().await;
            let local = self.network.0.nodes.lock().get(address).cloned();
            let answer = match local {
                Some(local) if arrived => local.deliver(command, deadline).await,
                Some(_) => Err(Trouble::Unknown),
                None => return Err(Trouble::Unknown),
            };
            if !self.network.carry().await || !arrived {
                sleep_until(deadline).await;
                return Err(Trouble::Unknown);
            }
            answer
        })
    }

    fn lookup(&self, _: Uuid) -> Boxed<'_, Lookup> {
        Box::pin(std::future::ready(Lookup::Absent))
    }

    /// The word of a later term is the latest, in whatever order they arrive.
    fn announce(&self, partition: Partition, term: Term) {
        let (network, name) = (self.network.clone(), Arc::clone(&self.name));
        tokio::spawn(async move {
            sleep(Duration::from_millis(network.0.random.within(0..30))).await;
            let mut owners = network.0.owners.lock();
            let latest = owners.get(&partition).is_none_or(|(number, _)| *number <= term.number);
            if latest {
                owners.insert(partition, (term.number, name));
            }
        });
    }
}
