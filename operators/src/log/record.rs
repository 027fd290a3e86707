//! A record as people see it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eventlog::{Stored, Verdict};
use schemas::{Codec, Envelope};
use serde::Serialize;
use serde_json::{Map, Value};

use super::is_ruled;
use crate::range::time;

/// What stands at one offset.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    pub partition: u32,
    pub offset: u64,
    /// When the log appended it.
    time: String,
    /// Text; in base64 where it is none.
    key: String,
    /// `claim`, `valid` or `void`; none where the reader's rule has nothing to say of the topic.
    verdict: Option<&'static str>,
    /// Why it is void.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(flatten)]
    head: Head,
    /// What the payload says; none where it cannot be read.
    payload: Option<Value>,
    /// Why it cannot be read, and the payload as it is.
    #[serde(flatten)]
    unreadable: Option<Unreadable>,
}

/// What the headers say.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Head {
    Envelope {
        r#type: String,
        id: String,
        subject: String,
        version: u64,
        term: u64,
        sequence: u64,
        causation_id: String,
        correlation_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    /// They are no envelope.
    Other { headers: Map<String, Value> },
}

#[derive(Debug, Serialize)]
struct Unreadable {
    error: String,
    payload_base64: String,
}

impl Item {
    /// Blocks while a registry is asked for a schema.
    pub(super) fn of(stored: &Stored, verdict: Option<Verdict>, codec: &Codec) -> Self {
        let payload = &stored.record.payload;
        let read = if is_ruled(stored.partition.topic) {
            codec.decode_any(payload).map(|any| any.value).map_err(|error| error.in_full())
        } else {
            serde_json::from_slice(payload).map_err(|error| error.to_string())
        };
        let unreadable = read
            .as_ref()
            .err()
            .map(|error| Unreadable { error: error.clone(), payload_base64: STANDARD.encode(payload) });
        let (verdict, reason) = match verdict {
            None => (None, None),
            Some(Verdict::Claim) => (Some("claim"), None),
            Some(Verdict::Valid) => (Some("valid"), None),
            Some(Verdict::Void(reason)) => (Some("void"), Some(reason.as_str())),
        };
        Self {
            partition: stored.partition.number,
            offset: stored.offset,
            time: time(stored.timestamp),
            key: text(&stored.record.key),
            verdict,
            reason,
            head: stored.envelope().map_or_else(|_| Head::other(stored), |envelope| Head::of(&envelope)),
            payload: read.ok(),
            unreadable,
        }
    }
}

impl Head {
    fn of(envelope: &Envelope) -> Self {
        Self::Envelope {
            r#type: envelope.record_type.to_string(),
            id: envelope.id.to_string(),
            subject: envelope.subject.clone(),
            version: envelope.version,
            term: envelope.term.number,
            sequence: envelope.sequence,
            causation_id: envelope.causation_id.to_string(),
            correlation_id: envelope.correlation_id.to_string(),
            traceparent: envelope.traceparent.clone(),
        }
    }

    fn other(stored: &Stored) -> Self {
        let headers = stored.record.headers.iter().map(|(name, value)| (name.to_string(), text(value).into()));
        Self::Other { headers: headers.collect() }
    }
}

fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| STANDARD.encode(bytes), str::to_owned)
}
