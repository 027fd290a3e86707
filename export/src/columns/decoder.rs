//! Bare Avro of one schema to Arrow.

use arrow_array::RecordBatch;
use arrow_avro::codec::Tz;
use arrow_avro::errors::AvroError;
use arrow_avro::reader::{self, DecoderMode, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use arrow_schema::{ArrowError, SchemaRef};

/// Most rows of one batch; more than are ever decoded together.
const ROWS_MAX: usize = 1 << 20;

/// Under which the one schema stands that a decoder knows.
const ONLY: Fingerprint = Fingerprint::Id(0);

pub(super) struct Decoder {
    written: AvroSchema,
    read_as: AvroSchema,
    inner: reader::Decoder,
}

impl Decoder {
    /// Reads what was written with one schema as another one has it.
    pub(super) fn new(written: &str, read_as: &str) -> Result<Self, ArrowError> {
        let (written, read_as) = (AvroSchema::new(written.to_owned()), AvroSchema::new(read_as.to_owned()));
        let inner = make(&written, &read_as)?;
        Ok(Self { written, read_as, inner })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    /// A row for each datum, or nothing.
    pub(super) fn decode<'d>(&mut self, data: impl Iterator<Item = &'d [u8]>) -> Result<RecordBatch, ArrowError> {
        let decoded = self.rows(data);
        if decoded.is_err() {
            // It has half a row now.
            self.inner = make(&self.written, &self.read_as)?;
        }
        decoded.map_err(|error| ArrowError::AvroError(error.to_string()))
    }

    /// What stands behind a datum does not matter, as it does not where events are read.
    fn rows<'d>(&mut self, data: impl Iterator<Item = &'d [u8]>) -> Result<RecordBatch, AvroError> {
        for datum in data {
            self.inner.decode(datum)?;
        }
        self.inner.flush()?.ok_or_else(|| AvroError::General("there is nothing to decode".to_owned()))
    }
}

fn make(written: &AvroSchema, read_as: &AvroSchema) -> Result<reader::Decoder, ArrowError> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(ONLY, written.clone())?;
    ReaderBuilder::new()
        .with_decoder_mode(DecoderMode::UnframedDatum)
        .with_writer_schema_store(store)
        .with_active_fingerprint(ONLY)
        .with_reader_schema(read_as.clone())
        .with_batch_size(ROWS_MAX)
        .with_tz(Tz::Utc)
        .build_decoder()
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;

    use super::*;

    const TODAY: &str = r#"{"type": "record", "name": "Sold", "namespace": "test", "fields": [
        {"name": "channel", "type": "string", "default": "shop"},
        {"name": "units", "type": "long"},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
            {"name": "sku", "type": "string"}, {"name": "price", "type": "long", "default": 7}]}}},
        {"name": "facts", "type": {"type": "map", "values": "long"}, "doc": "why"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    ]}"#;
    /// In another order, narrower, without what came later, and with what has gone since.
    const OLDER: &str = r#"{"type": "record", "name": "Sold", "namespace": "test", "fields": [
        {"name": "units", "type": "int"},
        {"name": "till", "type": "string"},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
            {"name": "sku", "type": "string"}]}}},
        {"name": "facts", "type": {"type": "map", "values": "int"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    ]}"#;
    /// 21, "A1", one line of "tea", no facts, 5 ms.
    const SOLD: &[u8] = b"\x2a\x04A1\x02\x06tea\0\0\x0a";

    #[test]
    fn what_an_older_schema_wrote_has_the_columns_of_todays() {
        let (mut older, today) = (Decoder::new(OLDER, TODAY).unwrap(), Decoder::new(TODAY, TODAY).unwrap());
        assert_eq!(older.schema(), today.schema());
        let sold = older.decode([SOLD, SOLD].into_iter()).unwrap();
        assert_eq!(sold.schema(), today.schema());
        assert_eq!(sold.column(0).as_string::<i32>().value(1), "shop");
        assert_eq!(sold.column(1).as_primitive::<Int64Type>().value(1), 21);
        let lines = sold.column(2).as_list::<i32>().value(1);
        let lines = lines.as_struct();
        assert_eq!((lines.len(), lines.column(0).as_string::<i32>().value(0)), (1, "tea"));
        assert_eq!(lines.column(1).as_primitive::<Int64Type>().value(0), 7);
    }

    #[test]
    fn a_datum_that_cannot_be_read_leaves_nothing_behind() {
        let mut decoder = Decoder::new(OLDER, TODAY).unwrap();
        for end in 0..SOLD.len() {
            assert!(decoder.decode([SOLD, &SOLD[..end]].into_iter()).is_err(), "{end} bytes");
            assert_eq!(decoder.decode([SOLD].into_iter()).unwrap().num_rows(), 1);
        }
    }

    #[test]
    fn schemas_that_do_not_go_together_are_no_decoder() {
        let other = OLDER.replace("\"type\": \"int\"", "\"type\": \"string\"");
        assert!(Decoder::new(&other, TODAY).is_err());
    }
}
