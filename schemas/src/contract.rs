//! Ties an aggregate of the domain to its topic.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{Decider, Rejection};
use serde::{Deserialize, Serialize};

use crate::codec::{Codec, CodecError};
use crate::topics::{RecordType, Topic};

/// A payload and the name of its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Which record type.
    pub record_type: &'static RecordType,
    /// Confluent-framed Avro.
    pub payload: Bytes,
}

/// An aggregate that has a topic.
pub trait Contract: Decider {
    /// Where its events are.
    const TOPIC: &'static Topic;

    /// Increased whenever `evolve` or the shape of the state changes: owners then rebuild their cache of it.
    const STATE_VERSION: u32;

    /// What the command is called, for analysts of refusals.
    fn command_name(command: &Self::Command) -> &'static str;

    /// The command as JSON, for the node that owns its aggregate. Nodes of two versions speak to each other while they are
    /// being replaced: fields may come, and must then be optional.
    ///
    /// # Errors
    /// When a value does not fit.
    fn encode_command(command: &Self::Command) -> Result<Bytes, CodecError>;

    /// The command that another node sent.
    ///
    /// # Errors
    /// When it is not one, or a value lies outside what the domain allows.
    fn decode_command(json: &[u8]) -> Result<Self::Command, CodecError>;

    /// The event in bytes.
    ///
    /// # Errors
    /// When the codec knows no id for the schema.
    fn encode(codec: &Codec, event: &Self::Event) -> Result<Encoded, CodecError>;

    /// The event that the bytes of a record of type `record_type` say.
    ///
    /// # Errors
    /// When the type is not one of the topic's events, or the bytes are not what the schema says.
    fn decode(codec: &Codec, record_type: &str, payload: &[u8]) -> Result<Self::Event, CodecError>;
}

/// A recorded "no".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What was asked, for example `ReserveStock`.
    pub command: String,
    /// The stable reason.
    pub code: String,
    /// The reason in words.
    pub detail: String,
    /// Numbers behind the reason, by name.
    pub facts: BTreeMap<String, i64>,
}

impl Refusal {
    /// The record of `rejection`.
    pub fn new(command: &str, rejection: &impl Rejection) -> Self {
        Self {
            command: command.to_owned(),
            code: rejection.code().to_owned(),
            detail: rejection.to_string(),
            facts: rejection.facts().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }
}
