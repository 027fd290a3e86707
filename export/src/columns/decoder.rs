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

    /// What the schema that was written with has and the other one has not, without what is nested.
    pub(super) fn left_out(&self) -> Vec<String> {
        let known = self.schema();
        let Ok(all) = make(&self.written, &self.written) else { return Vec::new() };
        let all = all.schema();
        let names = all.fields().iter().map(|field| field.name());
        names.filter(|name| known.field_with_name(name).is_err()).cloned().collect()
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
