//! Payloads of whatever type, for people who look at a log: as the schema says that they were written with, also where this
//! build knows no such type.

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

impl Codec {
    /// What `payload` says, whatever its type. Blocks while a registry is asked for the schema, which happens once per
    /// schema.
    ///
    /// # Errors
    /// When it is not framed Avro, its schema cannot be had, or it is not what its schema says.
    pub fn decode_any(&self, payload: &[u8]) -> Result<Any, CodecError> {
        let BytesResult::Valid(id, mut datum) = get_bytes_result(Some(payload)) else {
            return Err(CodecError::Framing);
        };
        let reader = self.any_reader(id)?;
        let failed = |source| avro(&reader.record, source);
        let value = reader.datum.read_value(&mut datum).map_err(failed)?;
        let value = Value::try_from(value).map_err(failed)?;
        Ok(Any { record: reader.record.clone(), value })
    }

    fn any_reader(&self, id: u32) -> Result<Arc<AnyReader>, CodecError> {
        if let Some(reader) = self.any.read().get(&id) {
            return Ok(Arc::clone(reader));
        }
        let text = self.registry.schema(id).map_err(|source| CodecError::Schema { id, source })?;
        let what = format!("schema {id}");
        let schema = Schema::parse_str(&text).map_err(|source| avro(&what, source))?;
        let record = schema.name().map_or(what, |name| name.fullname(None));
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
    use crate::topics::{COMMAND_REFUSED, ORDER};
    use crate::wire::log::encode_refusal;

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
    fn what_cannot_be_read_says_why() {
        let codec = Codec::local();
        assert!(matches!(codec.decode_any(b"{}"), Err(CodecError::Framing)));
        assert!(matches!(codec.decode_any(b"\0\0\0\0\x07x"), Err(CodecError::Schema { id: 7, .. })));
    }
}
