//! What every record says about itself, in headers.
//!
//! CloudEvents 1.0 in Kafka's binary mode, plus the marks by which a reader decides whether the record counts
//! (`lonja_term`, `lonja_sequence`) as readable text, so that analysts can apply the rule in SQL.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use bytes::Bytes;
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::topics::{self, TERM_STARTED};

/// Headers of a record, in order.
pub type Headers = Vec<(Cow<'static, str>, Bytes)>;

/// Names one claim and with it all records that were decided under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// One higher than the latest that the claimant read; a claim with a number that is not higher is void.
    pub number: u64,
    /// 128 random bits: tells two claims apart that a log, after losing its tail, gave the same number.
    pub nonce: u128,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.number, self.nonce)
    }
}

impl FromStr for Term {
    type Err = EnvelopeError;

    fn from_str(text: &str) -> Result<Self, EnvelopeError> {
        let odd = || EnvelopeError::Odd { header: TERM, text: text.to_owned() };
        let (number, nonce) = text.split_once(':').ok_or_else(odd)?;
        Ok(Self {
            number: number.parse().map_err(|_| odd())?,
            nonce: u128::from_str_radix(nonce, 16).map_err(|_| odd())?,
        })
    }
}

/// The headers of a record, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Id of the event. A decision is one record, so it is the id of its command too.
    pub id: Uuid,
    /// Full Avro name of the payload.
    pub record_type: Cow<'static, str>,
    /// `order/{id}`, `stock/{sku}`; of a claim `{aggregate}/{partition}`.
    pub subject: String,
    /// When it was decided, by the owner's clock.
    pub time: Timestamp,
    /// Under which claim it was decided.
    pub term: Term,
    /// 1, 2, 3 … within the term; 0 is the claim itself.
    pub sequence: u64,
    /// The aggregate's version after the decision: gapless from 1; 0 before the first event.
    pub version: u64,
    /// Digest of the request that became the command; 0 where there was none.
    pub fingerprint: u128,
    /// Id of what caused the command: the command itself, or the event that a policy reacted to.
    pub causation_id: Uuid,
    /// Id that everything belonging to one request or process shares.
    pub correlation_id: Uuid,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// Why headers are not an envelope. A reader counts such a record as void.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// A header is not there.
    #[error("header {0} is missing")]
    Missing(&'static str),
    /// A header cannot be read.
    #[error("header {header} says {text:?}")]
    Odd {
        /// Which one.
        header: &'static str,
        /// What it says.
        text: String,
    },
}

/// What the values of a record's headers need, roughly.
const TEXT_BYTES: usize = 512;

const TYPE: &str = "ce_type";
const ID: &str = "ce_id";
const SUBJECT: &str = "ce_subject";
const TIME: &str = "ce_time";
const CAUSATION: &str = "ce_causationid";
const CORRELATION: &str = "ce_correlationid";
const TRACEPARENT: &str = "traceparent";
const TERM: &str = "lonja_term";
const SEQUENCE: &str = "lonja_sequence";
const VERSION: &str = "lonja_version";
const FINGERPRINT: &str = "lonja_fingerprint";

impl Envelope {
    /// The headers that say this, for a record of an aggregate of type `aggregate`.
    #[must_use]
    pub fn to_headers(&self, aggregate: &str) -> Headers {
        // All values in one allocation: a record has a dozen.
        let mut text = String::with_capacity(TEXT_BYTES);
        let mut say = |value: fmt::Arguments<'_>| {
            let start = text.len();
            // Writing into a string does not fail.
            let _ = text.write_fmt(value);
            start..text.len()
        };
        let fixed = |name, value: &'static [u8]| (Cow::Borrowed(name), Bytes::from_static(value));
        let values = [
            (ID, say(format_args!("{}", self.id))),
            (TYPE, say(format_args!("{}", self.record_type))),
            ("ce_source", say(format_args!("/lonja/{aggregate}"))),
            (SUBJECT, say(format_args!("{}", self.subject))),
            (TIME, say(format_args!("{}", render_time(self.time)))),
            (CAUSATION, say(format_args!("{}", self.causation_id))),
            (CORRELATION, say(format_args!("{}", self.correlation_id))),
            (TERM, say(format_args!("{}", self.term))),
            (SEQUENCE, say(format_args!("{}", self.sequence))),
            (VERSION, say(format_args!("{}", self.version))),
            (FINGERPRINT, say(format_args!("{:032x}", self.fingerprint))),
        ];
        let traceparent = self.traceparent.as_ref().map(|parent| (TRACEPARENT, say(format_args!("{parent}"))));
        let text = Bytes::from(text);
        let mut headers = Headers::with_capacity(values.len() + 3);
        headers.push(fixed("ce_specversion", b"1.0"));
        headers.push(fixed("content-type", b"application/avro"));
        let values = values.into_iter().chain(traceparent);
        headers.extend(values.map(|(name, range)| (Cow::Borrowed(name), text.slice(range))));
        headers
    }

    /// Reads headers.
    ///
    /// # Errors
    /// Names the first header that is missing or odd.
    pub fn from_headers(headers: &Headers) -> Result<Self, EnvelopeError> {
        let values = Values::of(headers);
        let record_type = values.text(TYPE)?;
        Ok(Self {
            id: values.parse(ID)?,
            record_type: known_type(record_type).map_or_else(|| record_type.to_owned().into(), Cow::Borrowed),
            subject: values.text(SUBJECT)?.to_owned(),
            time: parse_time(values.text(TIME)?)?,
            term: values.text(TERM)?.parse()?,
            sequence: values.parse(SEQUENCE)?,
            version: values.parse(VERSION)?,
            fingerprint: u128::from_str_radix(values.text(FINGERPRINT)?, 16).map_err(|_| values.odd(FINGERPRINT))?,
            causation_id: values.parse(CAUSATION)?,
            correlation_id: values.parse(CORRELATION)?,
            traceparent: values.text(TRACEPARENT).ok().map(str::to_owned),
        })
    }

    /// Whether this is a claim.
    #[must_use]
    pub fn is_claim(&self) -> bool {
        self.record_type == TERM_STARTED.name
    }
}

/// How many headers an envelope has that are read.
const HEADERS: usize = 11;

/// The values of a record's headers, found in one pass: every reader does this with every record.
struct Values<'h>([Option<&'h [u8]>; HEADERS]);

impl<'h> Values<'h> {
    fn of(headers: &'h Headers) -> Self {
        let mut values = [None; HEADERS];
        for (name, value) in headers {
            // The first one counts.
            if let Some(slot) = at(name).and_then(|at| values.get_mut(at)) {
                slot.get_or_insert(&**value);
            }
        }
        Self(values)
    }

    fn text(&self, name: &'static str) -> Result<&'h str, EnvelopeError> {
        let value = at(name).and_then(|at| self.0.get(at).copied().flatten()).ok_or(EnvelopeError::Missing(name))?;
        std::str::from_utf8(value).map_err(|_| EnvelopeError::Odd { header: name, text: format!("{value:?}") })
    }

    fn odd(&self, header: &'static str) -> EnvelopeError {
        EnvelopeError::Odd { header, text: self.text(header).unwrap_or_default().to_owned() }
    }

    fn parse<T: FromStr>(&self, header: &'static str) -> Result<T, EnvelopeError> {
        self.text(header)?.parse().map_err(|_| self.odd(header))
    }
}

/// Where a header stands in [`Values`].
fn at(name: &str) -> Option<usize> {
    Some(match name {
        ID => 0,
        TYPE => 1,
        SUBJECT => 2,
        TIME => 3,
        CAUSATION => 4,
        CORRELATION => 5,
        TERM => 6,
        SEQUENCE => 7,
        VERSION => 8,
        FINGERPRINT => 9,
        TRACEPARENT => 10,
        _ => return None,
    })
}

/// The type of that name which this build knows, without an allocation.
fn known_type(name: &str) -> Option<&'static str> {
    let mut known = topics::ALL.iter().flat_map(|topic| topic.records).map(|record| record.name);
    known.find(|known| *known == name)
}

fn render_time(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |t| t.to_string())
}

fn parse_time(text: &str) -> Result<Timestamp, EnvelopeError> {
    text.parse::<jiff::Timestamp>()
        .map(|time| Timestamp(time.as_millisecond()))
        .map_err(|_| EnvelopeError::Odd { header: TIME, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope() -> Envelope {
        Envelope {
            id: Uuid::from_u128(1),
            record_type: Cow::Borrowed("lonja.order.OrderPlaced"),
            subject: "order/1".into(),
            time: Timestamp(1_700_000_000_123),
            term: Term { number: 7, nonce: u128::MAX },
            sequence: 3,
            version: 1,
            fingerprint: 5,
            causation_id: Uuid::from_u128(2),
            correlation_id: Uuid::from_u128(3),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        }
    }

    #[test]
    fn headers_are_read_as_they_were_written() {
        let headers = envelope().to_headers("order");
        assert_eq!(Envelope::from_headers(&headers), Ok(envelope()));
        let term = headers.iter().find(|(name, _)| name == TERM).unwrap();
        assert_eq!(term.1, "7:ffffffffffffffffffffffffffffffff");
        let time = headers.iter().find(|(name, _)| name == TIME).unwrap();
        assert_eq!(time.1, "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn a_missing_or_odd_header_is_named() {
        let mut headers = envelope().to_headers("order");
        headers.retain(|(name, _)| name != SEQUENCE);
        assert_eq!(Envelope::from_headers(&headers), Err(EnvelopeError::Missing(SEQUENCE)));
        headers.push((Cow::Borrowed(SEQUENCE), Bytes::from_static(b"-1")));
        assert!(matches!(Envelope::from_headers(&headers), Err(EnvelopeError::Odd { header: SEQUENCE, .. })));
    }
}
