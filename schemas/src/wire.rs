//! The Avro twin of each event. The domain's types are not serialisable by design: what is on the log changes by the
//! rules of schema evolution, what is in the domain changes at will.

pub mod log;
mod order;
mod stock;

use bytes::Bytes;
use domain::ids::InvalidValue;
use serde::Serialize;

use crate::codec::CodecError;

/// What stands in an error's place of a record's name for a command between nodes.
const COMMAND: &str = "a forwarded command";

fn json(wire: &impl Serialize) -> Result<Bytes, CodecError> {
    Ok(serde_json::to_vec(wire)?.into())
}

/// A value on the log that the domain does not accept.
fn outside(record: &'static str) -> impl Fn(InvalidValue) -> CodecError {
    move |invalid| CodecError::Value { record, detail: invalid.detail }
}

/// A number on the log that the domain does not accept.
fn number<From, To: TryFrom<From>>(record: &'static str, value: From) -> Result<To, CodecError> {
    To::try_from(value).map_err(|_| CodecError::Value { record, detail: "a number is out of range".into() })
}
