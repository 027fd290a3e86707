//! The columns that every record has, whatever it says: where it stands, and what its headers say.
//!
//! The partition is none of them: readers take it from the path, and pyarrow refuses a directory whose files have it, too.
//! The event's id is also its command's.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use domain::Timestamp;
use eventlog::Admitted;

/// Arrow's name of the time zone of all times.
const UTC: &str = "UTC";

/// The columns of every record, and behind them those of an event.
pub(crate) fn columns_with(event: &Schema) -> SchemaRef {
    let mut fields = fields();
    let taken: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    for field in event.fields() {
        // A column is called like the field, unless every record has one of that name already.
        let name = match taken.contains(field.name()) {
            true => format!("event_{}", field.name()),
            false => field.name().clone(),
        };
        fields.push(Field::clone(field).with_name(name));
    }
    Arc::new(Schema::new(fields))
}

/// Records with their events, which stand in the same order.
pub(crate) fn beside(records: &[&Admitted], events: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut columns = columns(records);
    columns.extend_from_slice(events.columns());
    RecordBatch::try_new(columns_with(&events.schema()), columns)
}

fn fields() -> Vec<Field> {
    let mut fields = place();
    fields.push(Field::new("aggregate_key", DataType::Utf8, false));
    fields.extend(headers());
    fields
}

fn place() -> Vec<Field> {
    vec![
        Field::new("offset", DataType::Int64, false),
        Field::new("appended_at", time_type(), false),
        Field::new("event_id", DataType::Utf8, false),
    ]
}

fn headers() -> Vec<Field> {
    vec![
        Field::new("version", DataType::Int64, false),
        Field::new("time", time_type(), false),
        Field::new("causation_id", DataType::Utf8, false),
        Field::new("correlation_id", DataType::Utf8, false),
        Field::new("traceparent", DataType::Utf8, true),
    ]
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into()))
}

/// The values of [`fields`]. The keys are text.
fn columns(records: &[&Admitted]) -> Vec<ArrayRef> {
    let mut columns = place_of(records);
    columns.push(texts(records, |record| String::from_utf8_lossy(&record.record.key)));
    columns.extend(headers_of(records));
    columns
}

fn place_of(records: &[&Admitted]) -> Vec<ArrayRef> {
    vec![
        numbers(records, |record| record.offset),
        times(records, |record| record.timestamp),
        texts(records, |record| record.envelope.id.to_string()),
    ]
}

fn headers_of(records: &[&Admitted]) -> Vec<ArrayRef> {
    let traces = records.iter().map(|record| record.envelope.traceparent.as_deref());
    vec![
        numbers(records, |record| record.envelope.version),
        times(records, |record| record.envelope.time),
        texts(records, |record| record.envelope.causation_id.to_string()),
        texts(records, |record| record.envelope.correlation_id.to_string()),
        Arc::new(traces.collect::<StringArray>()),
    ]
}

/// Parquet's readers know signed numbers best; no log comes so far that it makes a difference.
fn numbers(records: &[&Admitted], value: impl Fn(&Admitted) -> u64) -> ArrayRef {
    let signed = |record: &&Admitted| i64::try_from(value(record)).unwrap_or(i64::MAX);
    Arc::new(Int64Array::from_iter_values(records.iter().map(signed)))
}

fn times(records: &[&Admitted], value: impl Fn(&Admitted) -> Timestamp) -> ArrayRef {
    let times = TimestampMillisecondArray::from_iter_values(records.iter().map(|record| value(record).0));
    Arc::new(times.with_timezone(UTC))
}

fn texts<'r, T: AsRef<str>>(records: &[&'r Admitted], value: impl Fn(&'r Admitted) -> T) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(records.iter().map(|record| value(record))))
}

/// A record that counts and cannot be read.
pub(crate) struct Unreadable<'r> {
    pub record: &'r Admitted,
    pub reason: String,
}

/// Records that cannot be read, in the order of the log: what their headers say, their bytes, and the reason.
pub(crate) fn unreadable(mut lost: Vec<Unreadable<'_>>) -> Result<RecordBatch, ArrowError> {
    lost.sort_by_key(|lost| lost.record.offset);
    let records: Vec<&Admitted> = lost.iter().map(|lost| lost.record).collect();
    let bytes = |name| Field::new(name, DataType::Binary, false);
    let text = |name| Field::new(name, DataType::Utf8, false);
    let mut fields = place();
    fields.extend([bytes("aggregate_key")]);
    fields.extend(headers());
    fields.extend([text("event_type"), text("reason"), bytes("payload")]);
    let mut columns = place_of(&records);
    columns.push(Arc::new(BinaryArray::from_iter_values(records.iter().map(|record| &record.record.key))));
    columns.extend(headers_of(&records));
    columns.push(texts(&records, |record| record.envelope.record_type.as_ref()));
    columns.push(Arc::new(StringArray::from_iter_values(lost.iter().map(|lost| &lost.reason))));
    columns.push(Arc::new(BinaryArray::from_iter_values(records.iter().map(|record| &record.record.payload))));
    RecordBatch::try_new(SchemaRef::new(Schema::new(fields)), columns)
}
