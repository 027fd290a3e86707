//! What nodes say to each other, as JSON. Nodes of two versions speak to each other while they are being replaced: fields
//! may come, and must then be optional.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use commands::peers::{Answer, Forwarded, Trouble};
use commands::{Lookup, Owned, Position};
use schemas::{Refusal, topics};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// `POST /commands`
#[derive(Debug, Serialize, Deserialize)]
pub struct Command {
    topic: String,
    key: String,
    command_id: Uuid,
    fingerprint: Uuid,
    expected_version: Option<u64>,
    causation_id: Uuid,
    correlation_id: Uuid,
    traceparent: Option<String>,
    /// JSON.
    command: String,
    /// For how long the caller waits.
    pub wait_ms: u64,
}

impl Command {
    pub(crate) fn new(command: Forwarded, wait_ms: u64) -> Self {
        Self {
            topic: command.topic.name.to_owned(),
            key: command.key,
            command_id: command.command_id,
            fingerprint: Uuid::from_u128(command.fingerprint),
            expected_version: command.expected_version,
            causation_id: command.causation_id,
            correlation_id: command.correlation_id,
            traceparent: command.traceparent,
            command: String::from_utf8_lossy(&command.command).into_owned(),
            wait_ms,
        }
    }

    /// `None` when this build knows no such topic.
    pub(crate) fn forwarded(self) -> Option<Forwarded> {
        Some(Forwarded {
            topic: topics::by_name(&self.topic)?,
            key: self.key,
            command_id: self.command_id,
            fingerprint: self.fingerprint.as_u128(),
            expected_version: self.expected_version,
            causation_id: self.causation_id,
            correlation_id: self.correlation_id,
            traceparent: self.traceparent,
            command: self.command.into(),
        })
    }
}

/// The answer to it: always 200, because the node has heard and says what came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It stands in the log.
    Decided {
        /// As `order.events/3@17`.
        position: Position,
        /// The aggregate's version after it.
        version: u64,
        /// It was known already.
        replayed: bool,
        /// Full Avro name of the record.
        record_type: String,
        /// Base64.
        payload: String,
    },
    /// See [`Trouble::Busy`].
    Busy,
    /// See [`Trouble::NotOwner`].
    NotOwner,
    /// See [`Trouble::Stopping`].
    Stopping,
    /// See [`Trouble::KeyReused`].
    KeyReused,
    /// See [`Trouble::Parked`].
    Parked(String),
    /// See [`Trouble::Unknown`].
    Unknown,
}

impl Reply {
    pub(crate) fn of(result: Result<Answer, Trouble>) -> Self {
        match result {
            Ok(Answer { position, version, replayed, record_type, payload }) => {
                Self::Decided { position, version, replayed, record_type, payload: STANDARD.encode(payload) }
            }
            Err(Trouble::Busy) => Self::Busy,
            Err(Trouble::NotOwner) => Self::NotOwner,
            Err(Trouble::Stopping) => Self::Stopping,
            Err(Trouble::KeyReused) => Self::KeyReused,
            Err(Trouble::Parked(reason)) => Self::Parked(reason),
            Err(Trouble::Unknown) => Self::Unknown,
        }
    }

    pub(crate) fn result(self) -> Result<Answer, Trouble> {
        Err(match self {
            Self::Decided { position, version, replayed, record_type, payload } => {
                let payload = STANDARD.decode(payload).map_err(|_| Trouble::Unknown)?.into();
                return Ok(Answer { position, version, replayed, record_type, payload });
            }
            Self::Busy => Trouble::Busy,
            Self::NotOwner => Trouble::NotOwner,
            Self::Stopping => Trouble::Stopping,
            Self::KeyReused => Trouble::KeyReused,
            Self::Parked(reason) => Trouble::Parked(reason),
            Self::Unknown => Trouble::Unknown,
        })
    }
}

/// The answer to `GET /commands/{id}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// See [`Lookup::Absent`].
    Absent,
    /// See [`Lookup::Pending`].
    Pending,
    /// See [`Lookup::Decided`].
    Decided {
        /// As `order.events/3@17`.
        position: Position,
        /// The aggregate's version after it.
        version: u64,
        /// Full Avro name of the record.
        record_type: String,
        /// The refusal, if it is one.
        refusal: Option<Refusal>,
    },
}

impl From<Lookup> for Known {
    fn from(lookup: Lookup) -> Self {
        match lookup {
            Lookup::Absent => Self::Absent,
            Lookup::Pending => Self::Pending,
            Lookup::Decided { position, version, record_type, refusal } => {
                Self::Decided { position, version, record_type: record_type.into_owned(), refusal }
            }
        }
    }
}

impl From<Known> for Lookup {
    fn from(known: Known) -> Self {
        match known {
            Known::Absent => Self::Absent,
            Known::Pending => Self::Pending,
            Known::Decided { position, version, record_type, refusal } => {
                Self::Decided { position, version, record_type: record_type.into(), refusal }
            }
        }
    }
}

/// A line of the answer to `GET /owners`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// As `order.events/3`.
    pub partition: String,
    /// Number of its term; `None` while it is being restored.
    pub term: Option<u64>,
    /// Offset after the last record that this node has confirmed.
    pub next: Option<u64>,
}

impl From<Owned> for Assigned {
    fn from(owned: Owned) -> Self {
        let (term, next) = owned.running.unzip();
        Self { partition: owned.partition.to_string(), term, next }
    }
}
