//! Logs with everything in them that a log can have.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use eventlog::embedded::EmbeddedLog;
use eventlog::{EventLog, Partition, Record};
use schemas::topics::{
    ALL, COMMAND_REFUSED, COMMAND_UNCHANGED, ORDER, ORDER_CANCELLED, ORDER_PLACED, RecordType, TERM_STARTED,
};
use schemas::{Codec, Envelope, Headers, Term};
use serde_json::{Value, json};
use uuid::Uuid;

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn partition(number: u32) -> Partition {
    Partition { topic: &ORDER, number }
}

pub fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(dir, ALL).unwrap()
}

/// Appends, and waits until all is there.
pub fn append(log: &dyn EventLog, partition: Partition, records: &[Record]) {
    let (sender, reports) = mpsc::channel();
    let sink = move |report| sender.send(report).unwrap();
    let appender = log.appender(Arc::new(sink)).unwrap();
    for (token, record) in records.iter().enumerate() {
        appender.append(partition, record, token as u64).unwrap();
    }
    for _ in records {
        reports.recv_timeout(PATIENCE).unwrap().outcome.unwrap();
    }
}

/// An owner that decides what it is told.
pub struct Owner<'c> {
    codec: &'c Codec,
    term: Term,
    sequence: u64,
}

impl<'c> Owner<'c> {
    pub fn new(codec: &'c Codec, number: u64) -> Self {
        Self { codec, term: Term { number, nonce: Uuid::new_v4().as_u128() }, sequence: 0 }
    }

    pub fn claim(&self) -> Record {
        let json = json!({"number": self.term.number, "nonce": "7", "node": "test"});
        let payload = self.codec.encode_json(TERM_STARTED.name, &ORDER, &json).unwrap();
        record(b"0", &self.envelope(TERM_STARTED.name, 0), payload)
    }

    /// A decision of this type, in these bytes.
    pub fn decide(&mut self, key: &[u8], name: &str, payload: impl Into<Bytes>) -> Record {
        self.sequence += 1;
        record(key, &self.envelope(name, self.sequence), payload)
    }

    pub fn event(&mut self, kind: &RecordType, json: &Value) -> Record {
        let payload = self.codec.encode_json(kind.name, &ORDER, json).unwrap();
        let key = json["order_id"].as_str().unwrap_or("o-1").to_owned();
        self.decide(key.as_bytes(), kind.name, payload)
    }

    pub fn placed(&mut self, customer: &str) -> Record {
        let number = i64::try_from(self.sequence).unwrap();
        let line = |sku: &str| json!({"sku": sku, "quantity": number + 1, "unit_price": 350});
        let lines: Vec<_> =
            ["tea", "cup", "pot"].iter().take(self.sequence as usize % 4).map(|sku| line(sku)).collect();
        let order = json!({
            "order_id": Uuid::new_v4().to_string(), "customer_id": customer, "currency": "EUR", "total": 700 * number,
            "lines": lines, "placed_at": 1_700_000_000_000_i64 + number,
        });
        self.event(&ORDER_PLACED, &order)
    }

    /// One of each type, and again.
    pub fn decisions(&mut self, count: usize) -> Vec<Record> {
        let one = |at: usize| match at % 4 {
            0 => self.placed("änn"),
            1 => {
                let cancelled =
                    json!({"order_id": "o-1", "reason": "", "currency": "JPY", "total": 1, "cancelled_at": 5});
                self.event(&ORDER_CANCELLED, &cancelled)
            }
            2 => {
                let facts = json!({"requested": 7, "available": -3});
                let refused = json!({"command": "PlaceOrder", "code": "no", "detail": "d", "facts": facts});
                self.event(&COMMAND_REFUSED, &refused)
            }
            _ => self.event(&COMMAND_UNCHANGED, &json!({"command": "CancelOrder"})),
        };
        (0..count).map(one).collect()
    }

    fn envelope(&self, name: &str, sequence: u64) -> Envelope {
        Envelope {
            id: Uuid::new_v4(),
            record_type: name.to_owned().into(),
            subject: "order/1".into(),
            time: Timestamp(1_700_000_000_000 + i64::try_from(sequence).unwrap()),
            term: self.term,
            sequence,
            version: sequence,
            fingerprint: 1,
            causation_id: Uuid::new_v4(),
            correlation_id: Uuid::new_v4(),
            traceparent: sequence
                .is_multiple_of(2)
                .then(|| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        }
    }
}

fn record(key: &[u8], envelope: &Envelope, payload: impl Into<Bytes>) -> Record {
    let headers: Headers = envelope.to_headers("order");
    Record { key: Bytes::copy_from_slice(key), headers: Arc::new(headers), payload: payload.into() }
}

/// Somebody else's record, with nothing that ours have.
pub fn foreign() -> Record {
    let headers = vec![("other".into(), Bytes::from_static(b"\xff"))];
    Record { key: Bytes::new(), headers: Arc::new(headers), payload: Bytes::from_static(b"\0") }
}

/// Three terms in one partition, a zombie, a duplicate, a hole, a stranger.
pub fn history(codec: &Codec) -> Vec<Record> {
    let (mut first, mut second, mut stale) = (Owner::new(codec, 1), Owner::new(codec, 2), Owner::new(codec, 2));
    let mut records = vec![foreign(), first.placed("before its claim"), first.claim()];
    first.sequence = 0;
    records.extend(first.decisions(6));
    records.push(records[records.len() - 1].clone());
    records.push(second.claim());
    records.push(first.placed("a zombie"));
    records.extend(second.decisions(5));
    second.sequence += 1;
    records.push(second.placed("behind a hole"));
    second.sequence -= 2;
    records.extend(second.decisions(2));
    records.extend([stale.claim(), stale.placed("of a stale claim"), foreign()]);
    records.extend(second.decisions(3));
    records
}
