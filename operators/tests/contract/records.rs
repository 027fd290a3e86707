//! Makes and appends records.

use std::sync::{Arc, LazyLock, mpsc};
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use eventlog::{EventLog, Partition, Record};
use schemas::topics::{COMMAND_REFUSED, ORDER, TERM_STARTED};
use schemas::wire::log::{encode_claim, encode_refusal};
use schemas::{Codec, Envelope, Refusal, Term};
use uuid::Uuid;

/// Making one parses every schema.
static CODEC: LazyLock<Codec> = LazyLock::new(Codec::local);

/// How long a log may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn term(number: u64) -> Term {
    Term { number, nonce: u128::from(number) << 64 | 7 }
}

pub fn claim(term: Term) -> Record {
    let payload = encode_claim(&CODEC, &ORDER, term, "test").unwrap();
    record("0", TERM_STARTED.name, term, 0, payload)
}

/// A recorded "no" about `key`.
pub fn decision(key: &str, term: Term, sequence: u64) -> Record {
    let facts = [("n".to_owned(), 3)].into();
    let refusal = Refusal { command: "PlaceOrder".into(), code: "refused".into(), detail: "no".into(), facts };
    let written = encode_refusal(&CODEC, &ORDER, &refusal).unwrap();
    record(key, COMMAND_REFUSED.name, term, sequence, written.payload)
}

/// One that is marked as ours and cannot be read.
pub fn garbled(key: &str, term: Term, sequence: u64) -> Record {
    Record { payload: Bytes::from_static(b"\xffgarbled"), ..decision(key, term, sequence) }
}

/// Somebody else's record.
pub fn foreign() -> Record {
    let headers = vec![("other".into(), Bytes::from_static(b"\xff"))];
    Record { key: Bytes::new(), headers: Arc::new(headers), payload: Bytes::from_static(b"{}") }
}

fn record(key: &str, record_type: &'static str, term: Term, sequence: u64, payload: Bytes) -> Record {
    let envelope = Envelope {
        id: Uuid::new_v4(),
        record_type: record_type.into(),
        subject: format!("order/{key}"),
        time: Timestamp(1_700_000_000_000),
        term,
        sequence,
        version: sequence,
        fingerprint: 1,
        causation_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        traceparent: None,
    };
    Record { key: Bytes::from(key.to_owned()), headers: Arc::new(envelope.to_headers("order")), payload }
}

/// Appends `records` and waits until the log has them.
pub fn append(log: &dyn EventLog, partition: Partition, records: &[Record]) {
    let (tell, told) = mpsc::channel();
    let sink = Arc::new(move |report: eventlog::Report| tell.send(report).unwrap());
    let appender = log.appender(sink).unwrap();
    for (token, record) in (0..).zip(records) {
        appender.append(partition, record, token).unwrap();
    }
    for _ in records {
        told.recv_timeout(PATIENCE).unwrap().outcome.unwrap();
    }
}
