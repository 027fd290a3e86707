//! Who owns each partition. Where that is known is the process's business: on a cluster from what owners announce, on an
//! embedded log from its own.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// As `order.events/3`.
    pub partition: String,
    /// Who announced it last; none where nobody ever did.
    pub node: Option<String>,
    /// Where that is; none where nobody else could ask.
    pub address: Option<String>,
    /// Number of the term, as its owner says now; as it was announced, where the owner does not answer.
    pub term: Option<u64>,
    /// `running`, `restoring`, `unreachable`, `deposed` (the node says that it is not the owner) or `unowned`.
    pub state: &'static str,
    /// Offset after the last record that the owner has confirmed.
    pub next: Option<u64>,
    /// Offset after the last record of the log.
    pub end: u64,
    /// Records between.
    pub lag: Option<u64>,
}

/// Every partition of every topic of events, or why that cannot be told.
pub type Told = Pin<Box<dyn Future<Output = Result<Vec<Owner>, String>> + Send>>;

/// Asks who owns what.
pub type AskOwners = Box<dyn Fn() -> Told + Send + Sync>;
