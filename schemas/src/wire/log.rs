//! Records of the log itself: claims, and decisions that changed nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{Codec, CodecError};
use crate::contract::{Encoded, Refusal};
use crate::envelope::Term;
use crate::topics::{COMMAND_REFUSED, COMMAND_UNCHANGED, TERM_STARTED, Topic};

#[derive(Serialize, Deserialize)]
struct TermStarted {
    number: i64,
    nonce: String,
    node: String,
}

#[derive(Serialize, Deserialize)]
struct CommandRefused {
    command: String,
    code: String,
    detail: String,
    facts: BTreeMap<String, i64>,
}

#[derive(Serialize, Deserialize)]
struct CommandUnchanged {
    command: String,
}

/// The payload of a claim by `node`.
///
/// # Errors
/// When the codec knows no id for the schema.
pub fn encode_claim(codec: &Codec, topic: &Topic, term: Term, node: &str) -> Result<Bytes, CodecError> {
    let number = super::number(TERM_STARTED.name, term.number)?;
    let wire = TermStarted { number, nonce: format!("{:032x}", term.nonce), node: node.to_owned() };
    codec.encode(topic, &TERM_STARTED, &wire)
}

/// The record of a "no".
///
/// # Errors
/// When the codec knows no id for the schema.
pub fn encode_refusal(codec: &Codec, topic: &Topic, refusal: &Refusal) -> Result<Encoded, CodecError> {
    let Refusal { command, code, detail, facts } = refusal.clone();
    let payload = codec.encode(topic, &COMMAND_REFUSED, &CommandRefused { command, code, detail, facts })?;
    Ok(Encoded { record_type: &COMMAND_REFUSED, payload })
}

/// The record of a "so already".
///
/// # Errors
/// When the codec knows no id for the schema.
pub fn encode_unchanged(codec: &Codec, topic: &Topic, command: &str) -> Result<Encoded, CodecError> {
    let payload = codec.encode(topic, &COMMAND_UNCHANGED, &CommandUnchanged { command: command.to_owned() })?;
    Ok(Encoded { record_type: &COMMAND_UNCHANGED, payload })
}

/// Reads a record of a "no".
///
/// # Errors
/// When the payload is not one.
pub fn decode_refusal(codec: &Codec, payload: &[u8]) -> Result<Refusal, CodecError> {
    let CommandRefused { command, code, detail, facts } = codec.decode(&COMMAND_REFUSED, payload)?;
    Ok(Refusal { command, code, detail, facts })
}
