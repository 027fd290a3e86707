//! What is parked as stores keep it: positions as columns, the key in hexadecimal, all else as one JSON text.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::Timestamp;
use eventlog::{Partition, Record};
use schemas::topics;
use serde::{Deserialize, Serialize};

use super::{Cause, ParkedEvent, ParkedKey, Place, Resolution, Verdict};

/// A row is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("a row of what is parked cannot be read: {0}")]
pub(crate) struct OddRow(String);

/// A key.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct KeyRow {
    pub topic: &'static str,
    pub partition_number: u32,
    pub record_key: String,
}

impl From<&ParkedKey> for KeyRow {
    fn from(key: &ParkedKey) -> Self {
        Self {
            topic: key.partition.topic.name,
            partition_number: key.partition.number,
            record_key: key.key.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl KeyRow {
    pub fn read(topic: &str, number: i32, key: &str) -> Result<ParkedKey, OddRow> {
        let byte = |at| key.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let bytes: Option<Vec<u8>> = (0..key.len()).step_by(2).map(byte).collect();
        let key = bytes.ok_or_else(|| OddRow(format!("the key {key:?}")))?.into();
        Ok(ParkedKey { partition: partition(topic, number)?, key })
    }
}

/// An event.
#[derive(Debug, Serialize)]
pub(crate) struct ParkedRow {
    #[serde(flatten)]
    pub key: KeyRow,
    pub record_offset: u64,
    pub content: String,
}

#[derive(Serialize, Deserialize)]
struct ParkedContent {
    timestamp: i64,
    headers: Vec<(String, String)>,
    payload: String,
    cause: Cause,
    parked_at: i64,
    attempts: u32,
    tried_at: i64,
}

impl From<&ParkedEvent> for ParkedRow {
    fn from(event: &ParkedEvent) -> Self {
        let ParkedEvent { place, timestamp, record, cause, parked_at, attempts, tried_at } = event;
        let header = |(name, value): &(Cow<'static, str>, Bytes)| (name.to_string(), STANDARD.encode(value));
        let content = ParkedContent {
            timestamp: timestamp.0,
            headers: record.headers.iter().map(header).collect(),
            payload: STANDARD.encode(&record.payload),
            cause: cause.clone(),
            parked_at: parked_at.0,
            attempts: *attempts,
            tried_at: tried_at.0,
        };
        Self { key: (&event.parked_key()).into(), record_offset: place.1, content: json(&content) }
    }
}

impl ParkedRow {
    pub fn read(key: ParkedKey, offset: i64, content: &str) -> Result<ParkedEvent, OddRow> {
        let content: ParkedContent = parse(content)?;
        let headers = content.headers.into_iter().map(|(name, value)| Ok((Cow::Owned(name), decode(&value)?)));
        let headers = headers.collect::<Result<Vec<_>, OddRow>>()?.into();
        Ok(ParkedEvent {
            place: (key.partition, offset.cast_unsigned()),
            timestamp: Timestamp(content.timestamp),
            record: Record { key: key.key, headers, payload: decode(&content.payload)? },
            cause: content.cause,
            parked_at: Timestamp(content.parked_at),
            attempts: content.attempts,
            tried_at: Timestamp(content.tried_at),
        })
    }
}

/// What operators decided.
#[derive(Debug, Serialize)]
pub(crate) struct ResolutionRow {
    pub topic: &'static str,
    pub partition_number: u32,
    pub record_offset: u64,
    pub content: String,
}

#[derive(Serialize, Deserialize)]
struct ResolutionContent {
    /// Without one, the record is discarded.
    payload: Option<String>,
    reason: String,
    operator: String,
    at: i64,
}

impl From<&Resolution> for ResolutionRow {
    fn from(resolution: &Resolution) -> Self {
        let Resolution { place: (partition, offset), verdict, reason, operator, at } = resolution;
        let payload = match verdict {
            Verdict::Discard => None,
            Verdict::Correct(payload) => Some(STANDARD.encode(payload)),
        };
        let content = ResolutionContent { payload, reason: reason.clone(), operator: operator.clone(), at: at.0 };
        Self {
            topic: partition.topic.name,
            partition_number: partition.number,
            record_offset: *offset,
            content: json(&content),
        }
    }
}

impl ResolutionRow {
    pub fn read(place: Place, content: &str) -> Result<Resolution, OddRow> {
        let ResolutionContent { payload, reason, operator, at } = parse(content)?;
        let payload = payload.map(|payload| decode(&payload)).transpose()?;
        let verdict = payload.map_or(Verdict::Discard, Verdict::Correct);
        Ok(Resolution { place, verdict, reason, operator, at: Timestamp(at) })
    }
}

pub(crate) fn place(topic: &str, number: i32, offset: i64) -> Result<Place, OddRow> {
    Ok((partition(topic, number)?, offset.cast_unsigned()))
}

fn partition(topic: &str, number: i32) -> Result<Partition, OddRow> {
    let known = topics::by_name(topic).zip(u32::try_from(number).ok());
    let (topic, number) = known.ok_or_else(|| OddRow(format!("the partition {topic}/{number}")))?;
    Ok(Partition { topic, number })
}

fn json(content: &impl Serialize) -> String {
    serde_json::to_string(content).expect("texts and numbers")
}

fn parse<'t, T: Deserialize<'t>>(content: &'t str) -> Result<T, OddRow> {
    serde_json::from_str(content).map_err(|error| OddRow(error.to_string()))
}

fn decode(text: &str) -> Result<Bytes, OddRow> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| OddRow(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_parked_is_read_as_it_was() {
        let partition = Partition { topic: &topics::STOCK, number: 3 };
        let every: Vec<u8> = (0..=255).collect();
        let event = ParkedEvent {
            place: (partition, 1 << 40),
            timestamp: Timestamp(5),
            record: Record {
                key: every.clone().into(),
                headers: vec![("a".into(), every.clone().into()), ("a".into(), Bytes::new())].into(),
                payload: every.into(),
            },
            cause: Cause::Refused { detail: "\"no\"\\".into() },
            parked_at: Timestamp(6),
            attempts: 7,
            tried_at: Timestamp(8),
        };
        let row = ParkedRow::from(&event);
        let key = KeyRow::read(row.key.topic, 3, &row.key.record_key).unwrap();
        assert_eq!(ParkedRow::read(key, row.record_offset.cast_signed(), &row.content).unwrap(), event);
    }

    #[test]
    fn odd_keys_are_refused() {
        for odd in ["0", "0g", "é0"] {
            assert!(KeyRow::read("stock.events", 3, odd).is_err(), "{odd}");
        }
        assert!(KeyRow::read("nothing", 3, "00").is_err() && KeyRow::read("stock.events", -1, "00").is_err());
    }
}
