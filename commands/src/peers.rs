//! The other nodes, as a router sees them. A port: how nodes find and reach each other is not this crate's business.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use eventlog::Partition;
use schemas::topics::{COMMAND_REFUSED, COMMAND_UNCHANGED};
use schemas::wire::log::{decode_refusal, encode_refusal};
use schemas::{Codec, CodecError, Term, Topic};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Aggregate, CommandRequest, Decided, Decision, Lookup, Position};

/// A future behind a port.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The other nodes. What it says of owners is a hint that may be stale: that costs a detour, never correctness.
pub trait Peers: Send + Sync + 'static {
    /// Where the owner of `partition` was last heard of; `None` where that is this node, or nothing was heard.
    fn owner(&self, partition: Partition) -> Option<Arc<str>>;

    /// Ends when [`Self::owner`] of `partition` is another than `address`.
    fn moved<'a>(&'a self, partition: Partition, address: &'a str) -> Boxed<'a, ()>;

    /// Has a command decided by the owner at `address`.
    fn forward<'a>(
        &'a self,
        address: &'a str,
        command: Forwarded,
        deadline: Instant,
    ) -> Boxed<'a, Result<Answer, Trouble>>;

    /// What other nodes know of a command id.
    fn lookup(&self, command_id: Uuid) -> Boxed<'_, Lookup>;

    /// Tells the others that this node owns `partition`. Returns at once.
    fn announce(&self, partition: Partition, term: Term);
}

/// There are no other nodes.
pub struct Alone;

impl Peers for Alone {
    fn owner(&self, _: Partition) -> Option<Arc<str>> {
        None
    }

    fn moved<'a>(&'a self, _: Partition, _: &'a str) -> Boxed<'a, ()> {
        Box::pin(std::future::pending())
    }

    fn forward<'a>(&'a self, _: &'a str, _: Forwarded, _: Instant) -> Boxed<'a, Result<Answer, Trouble>> {
        Box::pin(std::future::ready(Err(Trouble::NotOwner)))
    }

    fn lookup(&self, _: Uuid) -> Boxed<'_, Lookup> {
        Box::pin(std::future::ready(Lookup::Absent))
    }

    fn announce(&self, _: Partition, _: Term) {}
}

/// Why an attempt at a command has no decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The queue is full; nothing was begun.
    #[error("the queue of commands is full")]
    Busy,
    /// The partition is owned elsewhere, or by nobody yet; nothing was begun.
    #[error("the partition is not owned here")]
    NotOwner,
    /// The node is stopping; nothing was begun.
    #[error("the node is stopping")]
    Stopping,
    /// The id names another request.
    #[error("the command id was used for another request")]
    KeyReused,
    /// The aggregate is set aside.
    #[error("the aggregate is parked: {0}")]
    Parked(String),
    /// It may have been decided: the owner's term ended, the connection broke, or the deadline passed.
    #[error("the outcome is not known")]
    Unknown,
}

/// A command on its way to another node, whatever its aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// The aggregate's topic.
    pub topic: &'static Topic,
    /// The aggregate's id.
    pub key: String,
    /// See [`CommandRequest::command_id`].
    pub command_id: Uuid,
    /// See [`CommandRequest::fingerprint`].
    pub fingerprint: u128,
    /// See [`CommandRequest::expected_version`].
    pub expected_version: Option<u64>,
    /// See [`CommandRequest::causation_id`].
    pub causation_id: Uuid,
    /// See [`CommandRequest::correlation_id`].
    pub correlation_id: Uuid,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// [`Contract::encode_command`].
    pub command: Bytes,
}

impl Forwarded {
    pub(crate) fn of<A: Aggregate>(request: &CommandRequest<A>) -> Result<Self, CodecError> {
        Ok(Self {
            topic: A::TOPIC,
            key: request.key.clone(),
            command_id: request.command_id,
            fingerprint: request.fingerprint,
            expected_version: request.expected_version,
            causation_id: request.causation_id,
            correlation_id: request.correlation_id,
            traceparent: request.traceparent.clone(),
            command: A::encode_command(&request.command)?,
        })
    }

    pub(crate) fn request<A: Aggregate>(self) -> Result<CommandRequest<A>, CodecError> {
        Ok(CommandRequest {
            command: Arc::new(A::decode_command(&self.command)?),
            key: self.key,
            command_id: self.command_id,
            fingerprint: self.fingerprint,
            expected_version: self.expected_version,
            causation_id: self.causation_id,
            correlation_id: self.correlation_id,
            traceparent: self.traceparent,
        })
    }
}

/// The decision of another node, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Where.
    pub position: Position,
    /// The aggregate's version after it.
    pub version: u64,
    /// The command was known already.
    pub replayed: bool,
    /// Full Avro name of the record.
    pub record_type: String,
    /// Its payload; empty for a decision that changed nothing.
    pub payload: Bytes,
}

impl Answer {
    pub(crate) fn of<A: Aggregate>(codec: &Codec, decided: &Decided<A::Event>) -> Result<Self, CodecError> {
        let (record_type, payload) = match &decided.decision {
            Decision::Accepted(event) => {
                let encoded = A::encode(codec, event)?;
                (encoded.record_type.name, encoded.payload)
            }
            Decision::Refused(refusal) => (COMMAND_REFUSED.name, encode_refusal(codec, A::TOPIC, refusal)?.payload),
            Decision::Unchanged => (COMMAND_UNCHANGED.name, Bytes::new()),
        };
        let Decided { position, version, replayed, .. } = *decided;
        Ok(Self { position, version, replayed, record_type: record_type.to_owned(), payload })
    }

    pub(crate) fn decided<A: Aggregate>(&self, codec: &Codec) -> Result<Decided<A::Event>, CodecError> {
        let decision = decision::<A>(codec, &self.record_type, &self.payload)?;
        Ok(Decided { position: self.position, version: self.version, replayed: self.replayed, decision })
    }
}

/// What a record of this type decides.
pub(crate) fn decision<A: Aggregate>(
    codec: &Codec,
    record_type: &str,
    payload: &[u8],
) -> Result<Decision<A::Event>, CodecError> {
    Ok(if record_type == COMMAND_REFUSED.name {
        Decision::Refused(decode_refusal(codec, payload)?)
    } else if record_type == COMMAND_UNCHANGED.name {
        Decision::Unchanged
    } else {
        Decision::Accepted(A::decode(codec, record_type, payload)?)
    })
}
