use std::path::Path;
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use bytes::Bytes;
use domain::Timestamp;
use eventlog::{Partition, Record};
use parquet::file::reader::SerializedFileReader;
use schemas::topics::ORDER;
use schemas::{Envelope, Term};
use uuid::Uuid;

use super::*;
use crate::file::Unfinished;

static TODAY: RecordType = RecordType {
    name: "test.Sold",
    schema: r#"{"type": "record", "name": "Sold", "namespace": "test", "fields": [
        {"name": "channel", "type": "string", "default": "shop"},
        {"name": "units", "type": "long"},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
            {"name": "sku", "type": "string"}, {"name": "price", "type": "long", "default": 7}]}}},
        {"name": "facts", "type": {"type": "map", "values": "long"}, "doc": "why"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    ]}"#,
};
/// In another order, narrower, without what came later, and with what has gone since.
const OLDER: &str = r#"{"type": "record", "name": "Sold", "namespace": "test", "fields": [
    {"name": "units", "type": "int"},
    {"name": "till", "type": "string"},
    {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
        {"name": "sku", "type": "string"}]}}},
    {"name": "facts", "type": {"type": "map", "values": "int"}},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}}
]}"#;
/// 21, "A1", one line of "tea", no facts, 5 ms; by the older schema.
const SOLD: &[u8] = b"\x2a\x04A1\x02\x06tea\0\0\x0a";
/// "web", 22, one line of "pot" at 9, no facts, 6 ms; by today's.
const SOLD_TODAY: &[u8] = b"\x06web\x2c\x02\x06pot\x12\0\0\x0c";

fn older() -> Decoder {
    Decoder::new(OLDER, TODAY.schema).unwrap()
}

fn admitted(offset: u64) -> Admitted {
    let envelope = Envelope {
        id: Uuid::nil(),
        record_type: TODAY.name.into(),
        subject: String::new(),
        time: Timestamp(1),
        term: Term { number: 1, nonce: 1 },
        sequence: 1,
        version: 1,
        fingerprint: 0,
        causation_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        traceparent: None,
    };
    let record = Record { key: Bytes::new(), headers: Arc::default(), payload: Bytes::new() };
    let partition = Partition { topic: &ORDER, number: 0 };
    Admitted { partition, offset, timestamp: Timestamp(2), envelope: Arc::new(envelope), record, event: None }
}

#[test]
fn what_an_older_schema_wrote_is_read_as_todays() {
    let sold = older().decode([SOLD, SOLD].into_iter()).unwrap();
    assert_eq!(sold.column(0).as_string::<i32>().value(1), "shop");
    assert_eq!(sold.column(1).as_primitive::<Int64Type>().value(1), 21);
    let lines = sold.column(2).as_list::<i32>().value(1);
    let lines = lines.as_struct();
    assert_eq!((lines.len(), lines.column(0).as_string::<i32>().value(0)), (1, "tea"));
    assert_eq!(lines.column(1).as_primitive::<Int64Type>().value(0), 7);
}

#[test]
fn what_this_build_does_not_know_is_named() {
    assert_eq!(older().left_out(), ["till"]);
    assert_eq!(Decoder::new(TODAY.schema, TODAY.schema).unwrap().left_out(), Vec::<String>::new());
}

/// Where owners of two builds take turns.
#[test]
fn records_of_two_schemas_stand_in_one_file() {
    let mut kind = Type::new(&TODAY).unwrap();
    kind.decoders.insert(1, Ok(older()));
    kind.decoders.insert(2, Ok(Decoder::new(TODAY.schema, TODAY.schema).unwrap()));
    let records: Vec<Admitted> = (0..4).map(admitted).collect();
    let row = |(at, record)| match at % 2 {
        0 => Row { record, schema_id: 1, datum: SOLD },
        _ => Row { record, schema_id: 2, datum: SOLD_TODAY },
    };
    let rows: Vec<_> = records.iter().enumerate().map(row).collect();
    let (mut pieces, mut lost) = (Vec::new(), Vec::new());
    for run in rows.chunk_by(|one, next| one.schema_id == next.schema_id) {
        kind.read(run, &mut pieces, &mut lost).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let mut file = Unfinished::begin(folder.path(), 0, Arc::clone(&kind.schema)).unwrap();
    pieces.iter().for_each(|piece| file.write(&piece.rows).unwrap());
    let file = file.finish(0, 3).unwrap();
    assert_eq!((pieces.len(), lost.len(), file.records), (4, 0, 4));
    let read = read(&file.path);
    assert!(read[2].contains("channel: \"shop\", units: 21, lines: [{sku: \"tea\", price: 7}]"), "{}", read[2]);
    assert!(read[3].contains("channel: \"web\", units: 22, lines: [{sku: \"pot\", price: 9}]"), "{}", read[3]);
}

fn read(file: &Path) -> Vec<String> {
    SerializedFileReader::try_from(file).unwrap().into_iter().map(|row| row.unwrap().to_string()).collect()
}

#[test]
fn a_datum_that_cannot_be_read_leaves_nothing_behind() {
    let mut decoder = older();
    for end in 0..SOLD.len() {
        assert!(decoder.decode([SOLD, &SOLD[..end]].into_iter()).is_err(), "{end} bytes");
        assert_eq!(decoder.decode([SOLD].into_iter()).unwrap().num_rows(), 1);
    }
}

#[test]
fn schemas_that_do_not_go_together_are_no_decoder() {
    let other = OLDER.replace("\"type\": \"int\"", "\"type\": \"string\"");
    assert!(Decoder::new(&other, TODAY.schema).is_err());
}

#[test]
fn a_field_that_is_called_like_a_column_of_every_record_is_called_otherwise() {
    let kind = Type::new(&TODAY).unwrap();
    let names: Vec<&str> = kind.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!((kind.dataset, names.last()), ("Sold", Some(&"event_time")));
    assert_eq!(names.iter().filter(|name| **name == "time").count(), 1);
}
