//! Fills a log with the records that Lonja writes, as one owner of all partitions that does not ask anybody.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result};
use domain::Timestamp;
use eventlog::kafka::{KafkaLog, Settings};
use eventlog::{Appender, EventLog, Partition, Record, Report};
use schemas::topics::TERM_STARTED;
use schemas::wire::log::encode_claim;
use schemas::{Codec, Encoded, Envelope, Term, Topic};
use uuid::Uuid;

use crate::stack::Stack;

/// Records that are appended and not reported yet.
const IN_FLIGHT: u64 = 20_000;
/// Time of the first event; each later one is a millisecond later.
pub const FIRST_MS: i64 = 1_748_736_000_000;

/// Owns every partition of a topic and writes without asking.
pub struct Owner {
    codec: Codec,
    topic: &'static Topic,
    term: Term,
    sequences: Vec<u64>,
    appender: Box<dyn Appender>,
    reports: Receiver<Report>,
    unreported: u64,
    /// Dropped last.
    _log: Arc<dyn EventLog>,
}

impl Owner {
    /// Claims every partition of a topic of `stack` that nobody has claimed.
    pub fn on_kafka(stack: &Stack, topic: &'static Topic) -> Result<Self> {
        let settings = Settings { prefix: stack.topic_prefix.clone(), ..Settings::default() };
        let log = KafkaLog::connect(stack.kafka()?, settings).context("connecting to Kafka")?;
        let runtime = tokio::runtime::Runtime::new().context("starting a runtime")?;
        let codec = runtime.block_on(Codec::connect(stack.registry()?, &stack.topic_prefix));
        Self::claim(Arc::new(log), codec.context("connecting to the registry")?, topic, 1)
    }

    /// Claims every partition with `number`, which must be higher than that of any term before.
    pub fn claim(log: Arc<dyn EventLog>, codec: Codec, topic: &'static Topic, number: u64) -> Result<Self> {
        let (sender, reports) = channel();
        // Who does not listen any more has failed already.
        let sink = Arc::new(move |report| drop(sender.send(report)));
        let appender = log.appender(sink).context("making an appender")?;
        let term = Term { number, nonce: number.into() };
        let sequences = vec![0; topic.partitions as usize];
        let mut owner = Self { codec, topic, term, sequences, appender, reports, unreported: 0, _log: log };
        for partition in Partition::all(topic) {
            let payload = encode_claim(&owner.codec, topic, term, "bench")?;
            let claim = Encoded { record_type: &TERM_STARTED, payload };
            owner.write(partition, String::new(), &claim, 0, 0)?;
        }
        Ok(owner)
    }

    /// What its events are to be encoded with.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Appends the `number`-th event, after which the aggregate `key` has `version`.
    pub fn append(&mut self, key: String, event: &Encoded, number: u64, version: u64) -> Result<()> {
        self.write(Partition::of(self.topic, key.as_bytes()), key, event, number, version)
    }

    fn write(&mut self, partition: Partition, key: String, encoded: &Encoded, number: u64, version: u64) -> Result<()> {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, &number.to_be_bytes());
        let last = &mut self.sequences[partition.number as usize];
        let sequence = if encoded.record_type == &TERM_STARTED { 0 } else { *last + 1 };
        *last = sequence;
        let envelope = Envelope {
            id,
            record_type: encoded.record_type.name.into(),
            subject: format!("{}/{key}", self.topic.aggregate),
            time: Timestamp(FIRST_MS + i64::try_from(number)?),
            term: self.term,
            sequence,
            version,
            fingerprint: id.as_u128(),
            causation_id: id,
            correlation_id: id,
            traceparent: None,
        };
        let headers = envelope.to_headers(self.topic.aggregate);
        let record = Record { key: key.into(), headers: headers.into(), payload: encoded.payload.clone() };
        self.appender.append(partition, &record, number).context("appending")?;
        self.unreported += 1;
        self.await_reports(IN_FLIGHT)
    }

    fn await_reports(&mut self, at_most: u64) -> Result<()> {
        while self.unreported > at_most {
            self.reports.recv().context("the log is gone")?.outcome.context("appending")?;
            self.unreported -= 1;
        }
        Ok(())
    }

    /// Waits until everything is in the log.
    pub fn finish(mut self) -> Result<()> {
        self.await_reports(0)
    }
}
