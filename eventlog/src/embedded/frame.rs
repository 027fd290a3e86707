//! The bytes of a record on disk.
//!
//! Key: partition and offset, big-endian, so that keys sort as the log does. Value: the log's time (milliseconds, eight
//! little-endian bytes, filled in last), then postcard of key, headers and payload.

use std::sync::Arc;

use bytes::Bytes;
use domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::header_names::Names;
use crate::{LogError, Partition, Record, Stored};

const KEY_BYTES: usize = 12;
const TIME_BYTES: usize = 8;

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    key: &'a [u8],
    #[serde(borrow)]
    headers: Vec<(&'a str, &'a [u8])>,
    payload: &'a [u8],
}

pub(super) fn key(partition: u32, offset: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&offset.to_be_bytes());
    key
}

pub(super) fn offset(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(4..KEY_BYTES)?.try_into().ok()?))
}

/// The value of a record whose time is not known yet; see [`stamp`].
pub(super) fn encode(record: &Record) -> Result<Vec<u8>, postcard::Error> {
    let headers = record.headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
    let body = Body { key: &record.key, headers, payload: &record.payload };
    let mut value = Vec::with_capacity(TIME_BYTES + record.payload.len() + 512);
    value.extend_from_slice(&[0; TIME_BYTES]);
    postcard::to_extend(&body, value)
}

pub(super) fn stamp(value: &mut [u8], time: Timestamp) {
    value[..TIME_BYTES].copy_from_slice(&time.0.to_le_bytes());
}

pub(super) fn decode(partition: Partition, offset: u64, value: &[u8]) -> Result<Stored, LogError> {
    let damaged = |detail: String| LogError::Damaged(format!("the record at {partition}@{offset}: {detail}"));
    let (time, _) = value.split_first_chunk::<TIME_BYTES>().ok_or_else(|| damaged("too short".into()))?;
    // One copy, shared by all parts.
    let value = Bytes::copy_from_slice(value);
    let body: Body<'_> = postcard::from_bytes(&value[TIME_BYTES..]).map_err(|error| damaged(error.to_string()))?;
    let mut names = Names::default();
    let headers = body.headers.iter().map(|(name, bytes)| (names.intern(name), value.slice_ref(bytes)));
    Ok(Stored {
        partition,
        offset,
        timestamp: Timestamp(i64::from_le_bytes(*time)),
        record: Record {
            key: value.slice_ref(body.key),
            headers: Arc::new(headers.collect()),
            payload: value.slice_ref(body.payload),
        },
        envelope: None,
        event: None,
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            key: Bytes::from_static(b"key"),
            headers: Arc::new(vec![
                (Cow::Borrowed("ce_type"), Bytes::new()),
                ("other".into(), Bytes::from_static(b"\xff\0")),
            ]),
            payload: Bytes::from(vec![7; 100_000]),
        };
        let mut value = encode(&record).unwrap();
        stamp(&mut value, Timestamp(-5));
        let partition = Partition { topic: &schemas::topics::ORDER, number: 3 };
        assert_eq!(
            decode(partition, 9, &value).unwrap(),
            Stored { partition, offset: 9, timestamp: Timestamp(-5), record, envelope: None, event: None }
        );
        assert!(matches!(decode(partition, 9, &value[..50_000]), Err(LogError::Damaged(_))));
    }

    #[test]
    fn keys_sort_as_the_log_does() {
        assert!(key(0, u64::MAX) < key(1, 0));
        assert!(key(1, 255) < key(1, 256));
        assert_eq!(offset(&key(1, 256)), Some(256));
    }
}
