//! The command side: one owner per partition decides, appends one record, and answers when the log has confirmed it.
//!
//! [`router`] finds the owner of a key, here or by [`peers`], and waits for a definite answer; [`node`] is all that one
//! node has of the command side; [`lane`] is the thread on which the owners of an aggregate type live; [`owner`] is the protocol of one partition, with [`decide`](mod@decide) and its [`working_set`];
//! [`restore`] is how an owner comes to be; [`states`] is the local cache of the log; [`warm`] keeps what others own there, too.

mod decide;
mod known;
mod lane;
pub mod ledger;
pub mod metrics;
pub mod node;
pub mod outside;
mod owner;
pub mod peers;
mod restore;
pub mod router;
pub mod states;
mod warm;
mod working_set;

use std::borrow::Cow;
use std::sync::Arc;

use eventlog::Partition;
use schemas::{Contract, Refusal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use lane::Owned;
pub use node::{Commands, Local, Lookups, Options};
pub use outside::Outside;
pub use peers::{Peers, Trouble};
pub use router::Router;

/// An aggregate that an owner can keep: its state is cached on disk.
pub trait Aggregate: Contract + Serialize + DeserializeOwned {}

impl<T: Contract + Serialize + DeserializeOwned> Aggregate for T {}

/// A command on its way to the owner of its aggregate.
pub struct CommandRequest<A: Aggregate> {
    /// The aggregate's id, which is the record's key.
    pub key: String,
    /// Names the command: the same id is the same command for ever.
    pub command_id: Uuid,
    /// Digest of the request: the same id with another one is refused.
    pub fingerprint: u128,
    /// The version on which the caller insists (`If-Match`).
    pub expected_version: Option<u64>,
    /// What caused it: the event that a policy reacted to, or the command's own id.
    pub causation_id: Uuid,
    /// Shared by everything that belongs to one request or process.
    pub correlation_id: Uuid,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// What is wanted.
    pub command: Arc<A::Command>,
}

impl<A: Aggregate> Clone for CommandRequest<A> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            traceparent: self.traceparent.clone(),
            command: Arc::clone(&self.command),
            ..*self
        }
    }
}

/// Where a record stands: what a consistency token is made of. Between nodes it is text, as `order.events/3@17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Position {
    /// In which partition.
    pub partition: Partition,
    /// At which offset.
    pub offset: u64,
}

impl From<Position> for String {
    fn from(Position { partition, offset }: Position) -> Self {
        format!("{partition}@{offset}")
    }
}

impl TryFrom<String> for Position {
    type Error = eventlog::NoPartition;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (partition, offset) = text.split_once('@').ok_or(eventlog::NoPartition)?;
        Ok(Self { partition: partition.parse()?, offset: offset.parse().map_err(|_| eventlog::NoPartition)? })
    }
}

/// The definite answer to a command. It stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided<E> {
    /// Where.
    pub position: Position,
    /// The aggregate's version after the decision.
    pub version: u64,
    /// The command was known already: this is the first answer again.
    pub replayed: bool,
    /// What was decided.
    pub decision: Decision<E>,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<E> {
    /// Yes, and this happened.
    Accepted(E),
    /// It was so already.
    Unchanged,
    /// No.
    Refused(Refusal),
}

/// Code of the refusal of a command whose `expected_version` is not the aggregate's; fact `current_version`.
pub const VERSION_CONFLICT: &str = "version_conflict";
/// Code of the refusal of a command whose event would be too large for the log.
pub const EVENT_TOO_LARGE: &str = "event_too_large";

/// Why a command has no definite answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The deadline passed; it may have been decided. Asking again with the same id is safe and tells.
    #[error("the outcome is not known yet")]
    Unknown,
    /// The queue is full; nothing was begun.
    #[error("the queue of commands is full")]
    Busy,
    /// Nobody owns the partition yet; nothing was begun.
    #[error("no owner is ready for this partition")]
    NotReady,
    /// The id names another request.
    #[error("the command id was used for another request")]
    KeyReused,
    /// The aggregate's history cannot be read; it is set aside until somebody mends it.
    #[error("the aggregate is parked: {0}")]
    Parked(String),
}

/// What is known of a command id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Nothing (any more).
    Absent,
    /// It was sent and has no confirmed answer yet.
    Pending,
    /// It was decided.
    Decided {
        /// Where the decision stands.
        position: Position,
        /// The aggregate's version after it.
        version: u64,
        /// Full Avro name of the record: an event, `lonja.log.CommandRefused` or `lonja.log.CommandUnchanged`.
        record_type: Cow<'static, str>,
        /// The refusal, if it is one.
        refusal: Option<Refusal>,
    },
}
