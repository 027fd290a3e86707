//! Payloads of whatever type, for people who look at a log: as the schema says that they were written with, also where this
//! build knows no such type. And payloads taken apart, for who makes something else of them than events.

use std::collections::HashMap;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use parking_lot::RwLock;
use schema_registry_converter::schema_registry_common::{BytesResult, get_bytes_result};
use serde_json::Value;

use super::{Codec, CodecError, avro};

/// Readers by the schema's id.
pub(super) type Readers = RwLock<HashMap<u32, Arc<AnyReader>>>;

/// Reads payloads of one schema.
pub(super) struct AnyReader {
    record: String,
    datum: GenericDatumReader<'static>,
}

/// What a payload says.
#[derive(Debug, Clone, PartialEq)]
pub struct Any {
    /// Full Avro name of its schema.
    pub record: String,
    /// As JSON; bytes are arrays of numbers.
    pub value: Value,
}

/// A payload without its framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'p> {
    /// The id of the schema that it was written with.
    pub schema_id: u32,
    /// Bare Avro.
    pub datum: &'p [u8],
}

impl<'p> Framed<'p> {
    /// Takes the framing off.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(payload: &'p [u8]) -> Result<Self, CodecError> {
        let BytesResult::Valid(schema_id, datum) = get_bytes_result(Some(payload)) else {
            return Err(CodecError::Framing);
        };
        Ok(Self { schema_id, datum })
    }
}

/// A schema that payloads are written with.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Full Avro name of the record that it describes.
    pub record: String,
    /// Its text.
    pub text: String,
    schema: Schema,
}

impl Codec {
    /// The schema with this id. Blocks while a registry is asked for it; keep what it said.
    ///
    /// # Errors
    /// When it cannot be had, or is not a schema.
    pub fn written(&self, id: u32) -> Result<Written, CodecError> {
        let text = self.registry.schema(id).map_err(|source| CodecError::Schema { id, source })?;
        let what = format!("schema {id}");
        let schema = Schema::parse_str(&text).map_err(|source| avro(&what, source))?;
        let record = schema.name().map_or(what, |name| name.fullname(None));
        Ok(Written { record, text, schema })
    }

    /// What `payload` says, whatever its type. Blocks while a registry is asked for the schema, which happens once per
    /// schema.
    ///
    /// # Errors
    /// When it is not framed Avro, its schema cannot be had, or it is not what its schema says.
    pub fn decode_any(&self, payload: &[u8]) -> Result<Any, CodecError> {
        let Framed { schema_id, mut datum } = Framed::of(payload)?;
        let reader = self.any_reader(schema_id)?;
        let failed = |source| avro(&reader.record, source);
        let value = reader.datum.read_value(&mut datum).map_err(failed)?;
        let value = Value::try_from(value).map_err(failed)?;
        Ok(Any { record: reader.record.clone(), value })
    }

    fn any_reader(&self, id: u32) -> Result<Arc<AnyReader>, CodecError> {
        if let Some(reader) = self.any.read().get(&id) {
            return Ok(Arc::clone(reader));
        }
        let Written { record, schema, .. } = self.written(id)?;
        // A schema lives as long as the process, which the reader's borrow needs; there is one per id of the registry.
        let schema: &'static Schema = Box::leak(Box::new(schema));
        let datum = GenericDatumReader::builder(schema).build().map_err(|source| avro(&record, source))?;
        let reader = Arc::new(AnyReader { record, datum });
        self.any.write().insert(id, Arc::clone(&reader));
        Ok(reader)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Refusal;
    use crate::topics::{COMMAND_REFUSED, COMMAND_UNCHANGED, ORDER};
    use crate::wire::log::{encode_refusal, encode_unchanged};

    #[test]
    fn a_payload_is_shown_as_it_was_written() {
        let codec = Codec::local();
        let facts = [("n".to_owned(), 3)].into();
        let refusal = Refusal { command: "PlaceOrder".into(), code: "x".into(), detail: "y".into(), facts };
        let written = encode_refusal(&codec, &ORDER, &refusal).unwrap();
        let any = codec.decode_any(&written.payload).unwrap();
        let value = json!({"command": "PlaceOrder", "code": "x", "detail": "y", "facts": {"n": 3}});
        assert_eq!(any, Any { record: COMMAND_REFUSED.name.to_owned(), value });
    }

    #[test]
    fn a_payload_is_taken_apart() {
        let codec = Codec::local();
        let written = encode_unchanged(&codec, &ORDER, "CancelOrder").unwrap();
        let framed = Framed::of(&written.payload).unwrap();
        assert_eq!(framed.datum, b"\x16CancelOrder");
        let schema = codec.written(framed.schema_id).unwrap();
        assert_eq!((schema.record.as_str(), schema.text.as_str()), (COMMAND_UNCHANGED.name, COMMAND_UNCHANGED.schema));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let codec = Codec::local();
        assert!(matches!(codec.decode_any(b"{}"), Err(CodecError::Framing)));
        assert!(matches!(codec.decode_any(b"\0\0\0\0\x07x"), Err(CodecError::Schema { id: 7, .. })));
    }
}
