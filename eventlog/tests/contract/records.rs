//! Makes, appends and reads records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, unbounded};
use domain::Timestamp;
use lonja_eventlog::{Appended, Appender, EventLog, Partition, Reader, Record, Report, Stored};
use schemas::topics::{ORDER, ORDER_PLACED, TERM_STARTED};
use schemas::{Envelope, Term};
use uuid::Uuid;

/// How long a log may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn partition(number: u32) -> Partition {
    Partition { topic: &ORDER, number }
}

pub fn term(number: u64) -> Term {
    Term { number, nonce: u128::from(number) << 64 | 7 }
}

pub fn claim(term: Term) -> Record {
    record(&envelope(TERM_STARTED.name, term, 0), b"a claim")
}

pub fn decision(term: Term, sequence: u64) -> Record {
    record(&envelope(ORDER_PLACED.name, term, sequence), format!("decision {term} {sequence}").as_bytes())
}

/// Somebody else's record, with nothing that ours have.
pub fn foreign() -> Record {
    Record {
        key: Bytes::new(),
        headers: Arc::new(vec![("other".into(), Bytes::from_static(b"\xff"))]),
        payload: Bytes::new(),
    }
}

/// Records of one term, beginning with its claim.
pub fn records(count: u64) -> Vec<Record> {
    let decisions = (1..count).map(|sequence| decision(term(1), sequence));
    std::iter::once(claim(term(1))).chain(decisions).collect()
}

fn envelope(record_type: &'static str, term: Term, sequence: u64) -> Envelope {
    Envelope {
        id: Uuid::new_v4(),
        record_type: record_type.into(),
        subject: "order/1".into(),
        time: Timestamp(1_700_000_000_000),
        term,
        sequence,
        version: sequence,
        fingerprint: 1,
        causation_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        traceparent: None,
    }
}

fn record(envelope: &Envelope, payload: &[u8]) -> Record {
    Record {
        key: Bytes::from_static(b"key"),
        headers: Arc::new(envelope.to_headers("order")),
        payload: Bytes::copy_from_slice(payload),
    }
}

/// An appender and what it reports.
pub fn appender(log: &dyn EventLog) -> (Box<dyn Appender>, Receiver<Report>) {
    let (sender, reports) = unbounded();
    let sink = Arc::new(move |report| {
        // A report that comes after the test has seen enough.
        let _ = sender.send(report);
    });
    (log.appender(sink).unwrap(), reports)
}

/// Appends `records` and waits for all reports.
pub fn append(log: &dyn EventLog, partition: Partition, records: &[Record]) -> Vec<Appended> {
    let (appender, reports) = appender(log);
    for (token, record) in records.iter().enumerate() {
        appender.append(partition, record, token as u64).unwrap();
    }
    let mut appended = Vec::new();
    for token in 0..records.len() as u64 {
        let report = reports.recv_timeout(PATIENCE).unwrap();
        assert_eq!((report.partition, report.token), (partition, token));
        appended.push(report.outcome.unwrap());
    }
    appended
}

/// Polls until there are `count` records, and not more.
pub fn read(reader: &mut dyn Reader, count: usize) -> Vec<Stored> {
    let deadline = Instant::now() + PATIENCE;
    let mut stored = Vec::new();
    while stored.len() < count && Instant::now() < deadline {
        stored.extend(reader.poll(1_000, Duration::from_millis(200)).unwrap());
    }
    assert_eq!(stored.len(), count);
    stored
}

/// The records of `partition` from `offset` on, of which there must be `count`.
pub fn read_from(log: &dyn EventLog, partition: Partition, offset: u64, count: usize) -> Vec<Stored> {
    read(log.reader(&[(partition, offset)]).unwrap().as_mut(), count)
}
