//! What must be in the files, by the headers' own texts. It shares the codec with the export, and no other code.

use std::collections::BTreeMap;
use std::time::Duration;

use eventlog::{EventLog, Partition, Stored};
use schemas::Codec;
use schemas::topics::ORDER;
use serde_json::{Map, Value, json};

use crate::rows::Rows;

/// The rows of each dataset, in the order of partitions and offsets.
pub fn of(log: &dyn EventLog, codec: &Codec) -> Rows {
    let mut rows = BTreeMap::new();
    for partition in Partition::all(&ORDER) {
        fold(log, codec, partition, &mut rows);
    }
    rows
}

fn fold(log: &dyn EventLog, codec: &Codec, partition: Partition, rows: &mut Rows) {
    let (end, mut term, mut sequence, mut next) = (log.end(partition).unwrap(), String::new(), 0, 0);
    let mut reader = log.reader(&[(partition, 0)]).unwrap();
    while next < end {
        for stored in reader.poll(100, Duration::from_secs(5)).unwrap() {
            next = stored.offset + 1;
            let of = |term: &str| term.split(':').next().and_then(|number| number.parse().ok()).unwrap_or(0_u64);
            let (Some(own), Some(number)) = (header(&stored, "lonja_term"), header(&stored, "lonja_sequence")) else {
                continue;
            };
            if header(&stored, "ce_type").as_deref() == Some("lonja.log.TermStarted") {
                if of(&own) > of(&term) {
                    (term, sequence) = (own, 0);
                }
            } else if own == term && number.parse() == Ok(sequence + 1) {
                sequence += 1;
                let (dataset, row) = row(&stored, codec);
                rows.entry(dataset).or_default().push(row);
            }
        }
    }
}

fn header(stored: &Stored, name: &str) -> Option<String> {
    let (_, value) = stored.record.headers.iter().find(|(header, _)| header == name)?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

fn row(stored: &Stored, codec: &Codec) -> (String, Value) {
    let text = |name: &str| header(stored, name).unwrap();
    let time: String = text("ce_time");
    let mut row = json!({
        "partition": stored.partition.number,
        "offset": stored.offset,
        "appended_at": stored.timestamp.0,
        "event_id": text("ce_id"),
        "version": text("lonja_version").parse::<u64>().unwrap(),
        "time": milliseconds(&time),
        "causation_id": text("ce_causationid"),
        "correlation_id": text("ce_correlationid"),
        "traceparent": header(stored, "traceparent"),
    });
    let fields = row.as_object_mut().unwrap();
    let (payload, kind) = (&stored.record.payload, text("ce_type"));
    let (key, read) = (std::str::from_utf8(&stored.record.key), codec.decode_any(payload));
    match (key, read) {
        (Ok(key), Ok(read)) if read.record == kind && ORDER.records.iter().any(|known| known.name == kind) => {
            fields.insert("aggregate_key".to_owned(), key.into());
            fields.extend(Map::from_iter(read.value.as_object().unwrap().clone()));
            (kind.rsplit('.').next().unwrap().to_owned(), row)
        }
        _ => {
            fields.insert("aggregate_key".to_owned(), stored.record.key.to_vec().into());
            fields.insert("event_type".to_owned(), kind.into());
            fields.insert("payload".to_owned(), payload.to_vec().into());
            ("_unreadable".to_owned(), row)
        }
    }
}

/// Of a time as the tests' records have it.
fn milliseconds(text: &str) -> i64 {
    let seconds = text.strip_prefix("2023-11-14T22:13:20").unwrap().trim_end_matches('Z');
    1_700_000_000_000
        + seconds.trim_start_matches('.').parse::<i64>().unwrap_or(0)
            * 10_i64.pow(u32::try_from(3 - seconds.trim_start_matches('.').len().clamp(0, 3)).unwrap())
}
