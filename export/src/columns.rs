//! Records as columns, by the Avro schemas of their types: [`arrow_avro`] turns bytes into Arrow, and nothing here knows any
//! type.
//!
//! Every record is read as this build's schema of its type has it, whatever schema it was written with: so all files of a
//! dataset that a build writes have the same columns.

mod decoder;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use eventlog::Admitted;
use schemas::codec::generic::Framed;
use schemas::topics::{RecordType, TERM_STARTED};
use schemas::{Codec, Topic};

use crate::ExportError;
use crate::envelope::{self, Unreadable};
use crate::layout::UNREADABLE;
use decoder::Decoder;

/// Turns records of one topic into columns.
pub struct Columns<'c> {
    codec: &'c Codec,
    /// By full Avro name.
    types: HashMap<&'static str, Type>,
}

/// What is to be written.
pub(crate) struct Sorted {
    /// Of one dataset in the order of the log.
    pub pieces: Vec<Piece>,
    /// How many records cannot be read.
    pub unreadable: u64,
}

/// Rows of one dataset.
pub(crate) struct Piece {
    pub dataset: &'static str,
    /// The columns of all its files. Those of the rows are the same, but for what Arrow notes beside them: which fields had
    /// no value in an older schema.
    pub schema: SchemaRef,
    pub rows: RecordBatch,
}

/// What is known of one record type.
struct Type {
    record: &'static RecordType,
    dataset: &'static str,
    schema: SchemaRef,
    /// By the id of the schema that records were written with; or why that is of no use.
    decoders: HashMap<u32, Result<Decoder, String>>,
}

/// A record that may be readable.
struct Row<'r> {
    record: &'r Admitted,
    schema_id: u32,
    datum: &'r [u8],
}

/// The dataset of a record type: its name, without what stands before it.
#[must_use]
pub fn dataset(record: &'static RecordType) -> &'static str {
    record.name.rsplit('.').next().unwrap_or(record.name)
}

impl<'c> Columns<'c> {
    /// For all types that count on `topic`: a claim is none.
    ///
    /// # Errors
    /// When a schema of this build cannot be turned into columns.
    pub fn new(topic: &'static Topic, codec: &'c Codec) -> Result<Self, ExportError> {
        let records = topic.records.iter().filter(|record| record.name != TERM_STARTED.name);
        let types = records.map(|record| Type::new(record).map(|kind| (record.name, kind)));
        Ok(Self { codec, types: types.collect::<Result<_, _>>()? })
    }

    /// The columns of each dataset.
    #[must_use]
    pub fn schemas(&self) -> BTreeMap<&'static str, SchemaRef> {
        self.types.values().map(|one| (one.dataset, Arc::clone(&one.schema))).collect()
    }

    pub(crate) fn sort(&mut self, records: &[Admitted]) -> Result<Sorted, ExportError> {
        let mut rows: BTreeMap<&'static str, Vec<Row<'_>>> = BTreeMap::new();
        let mut lost = Vec::new();
        for record in records {
            match self.place(record)? {
                Ok((name, row)) => rows.entry(name).or_default().push(row),
                Err(reason) => lost.push(Unreadable { record, reason }),
            }
        }
        let mut pieces = Vec::new();
        for (name, rows) in &rows {
            let Some(kind) = self.types.get_mut(name) else { continue };
            for run in rows.chunk_by(|one, next| one.schema_id == next.schema_id) {
                kind.read(run, &mut pieces, &mut lost)?;
            }
        }
        let unreadable = lost.len() as u64;
        if !lost.is_empty() {
            let rows = envelope::unreadable(lost).map_err(|error| unusable(UNREADABLE, &error))?;
            pieces.push(Piece { dataset: UNREADABLE, schema: rows.schema(), rows });
        }
        Ok(Sorted { pieces, unreadable })
    }

    /// The type of a record and its bytes; or why it cannot be read.
    fn place<'r>(&mut self, record: &'r Admitted) -> Result<Result<(&'static str, Row<'r>), String>, ExportError> {
        let Some(kind) = self.types.get_mut(record.envelope.record_type.as_ref()) else {
            return Ok(Err("this build does not know the type".to_owned()));
        };
        if std::str::from_utf8(&record.record.key).is_err() {
            return Ok(Err("the key is not text".to_owned()));
        }
        let Framed { schema_id, datum } = match Framed::of(&record.record.payload) {
            Ok(framed) => framed,
            Err(error) => return Ok(Err(error.in_full())),
        };
        match kind.learn(self.codec, schema_id)? {
            Ok(()) => Ok(Ok((kind.record.name, Row { record, schema_id, datum }))),
            Err(reason) => Ok(Err(reason)),
        }
    }
}

impl Type {
    fn new(record: &'static RecordType) -> Result<Self, ExportError> {
        let decoder = Decoder::new(record.schema, record.schema).map_err(|error| unusable(record.name, &error))?;
        let schema = envelope::columns_with(&decoder.schema());
        Ok(Self { record, dataset: dataset(record), schema, decoders: HashMap::new() })
    }

    /// Makes the decoder of a schema, once; or says why records of it cannot be read.
    fn learn(&mut self, codec: &Codec, id: u32) -> Result<Result<(), String>, ExportError> {
        if !self.decoders.contains_key(&id) {
            let decoder = match codec.written(id) {
                Ok(written) if written.record == self.record.name => self.decoder(id, &written.text),
                Ok(written) => Err(format!("schema {id} is of {}", written.record)),
                Err(error) if !error.is_transient() => Err(error.in_full()),
                Err(error) => return Err(ExportError::Registry(error)),
            };
            self.decoders.insert(id, decoder);
        }
        Ok(match self.decoders.get(&id) {
            Some(Err(reason)) => Err(reason.clone()),
            _ => Ok(()),
        })
    }

    fn decoder(&self, id: u32, written: &str) -> Result<Decoder, String> {
        let decoder = Decoder::new(written, self.record.schema).map_err(|error| error.to_string())?;
        let left_out = decoder.left_out();
        if !left_out.is_empty() {
            let (record, fields) = (self.record.name, left_out.join(", "));
            tracing::warn!(record, schema = id, fields, "this build does not know these fields and leaves them out");
        }
        Ok(decoder)
    }

    /// Reads rows of one schema; where one of them cannot be read, in halves, until it is alone.
    fn read<'r>(
        &mut self,
        rows: &[Row<'r>],
        pieces: &mut Vec<Piece>,
        lost: &mut Vec<Unreadable<'r>>,
    ) -> Result<(), ExportError> {
        let Some(Ok(decoder)) = rows.first().and_then(|row| self.decoders.get_mut(&row.schema_id)) else {
            return Ok(());
        };
        match (decoder.decode(rows.iter().map(|row| row.datum)), rows) {
            (Ok(events), _) => {
                let records: Vec<&Admitted> = rows.iter().map(|row| row.record).collect();
                let rows = envelope::beside(&records, &events).map_err(|error| unusable(self.record.name, &error))?;
                pieces.push(Piece { dataset: self.dataset, schema: Arc::clone(&self.schema), rows });
            }
            (Err(error), [row]) => lost.push(Unreadable { record: row.record, reason: error.to_string() }),
            (Err(_), _) => {
                let (one, other) = rows.split_at(rows.len() / 2);
                self.read(one, pieces, lost)?;
                self.read(other, pieces, lost)?;
            }
        }
        Ok(())
    }
}

fn unusable(record: &'static str, error: &ArrowError) -> ExportError {
    ExportError::Columns { record, detail: error.to_string() }
}
