//! The keys of records as text: as they are where they are text, else in hexadecimal behind `0x`.

use bytes::Bytes;
use projections::parking::ParkedKey;
use serde::Serialize;

use crate::problem::{INVALID_QUERY, Problem};

const HEX: &str = "0x";

/// Where the events of an aggregate stand, and their key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KeyText {
    pub partition: String,
    pub key: String,
}

impl From<&ParkedKey> for KeyText {
    fn from(key: &ParkedKey) -> Self {
        let plain = std::str::from_utf8(&key.key).ok();
        let plain = plain.filter(|text| !text.starts_with(HEX) && !text.contains(char::is_control));
        let hex = || key.key.iter().fold(HEX.to_owned(), |text, byte| format!("{text}{byte:02x}"));
        Self { partition: key.partition.to_string(), key: plain.map_or_else(hex, str::to_owned) }
    }
}

/// Reads what [`KeyText`] says.
///
/// # Errors
/// `invalid_query`.
pub(crate) fn parse(partition: &str, key: &str) -> Result<ParkedKey, Problem> {
    let partition = partition.parse().map_err(|error| Problem::caused(&INVALID_QUERY, &error))?;
    let key = match key.strip_prefix(HEX) {
        None => Bytes::copy_from_slice(key.as_bytes()),
        Some(digits) => {
            let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
            let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
            bytes.ok_or_else(|| Problem::new(&INVALID_QUERY, "key: behind 0x it is hexadecimal"))?.into()
        }
    };
    Ok(ParkedKey { partition, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_read_as_it_was_shown() {
        for key in [&b"tea"[..], b"", b"0x41", b"\xff\xfe", b"a\n", "caf\u{e9}".as_bytes()] {
            let parked = ParkedKey { partition: "stock.events/3".parse().unwrap(), key: Bytes::copy_from_slice(key) };
            let KeyText { partition, key: text } = KeyText::from(&parked);
            assert_eq!(parse(&partition, &text).unwrap(), parked);
        }
        assert!(parse("stock.events/99", "a").is_err() && parse("stock.events/3", "0xg0").is_err());
    }
}
