//! Reads partitions from given offsets; no group takes part.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::Timestamp;
use foldhash::HashMap;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use schemas::Topic;
use schemas::topics::EVENTS;

use super::elsewhere::DroppedElsewhere;
use super::logging::{Quiet, is_outage};
use super::{Settings, number, unavailable};
use crate::header_names::Names;
use crate::{LogError, Partition, Reader, Record, Stored};

pub(super) struct KafkaReader {
    consumer: DroppedElsewhere<BaseConsumer<Quiet>>,
    cursor: Cursor,
    request_timeout: Duration,
    /// The client does not fetch (any more) and must be told where to read.
    stopped: bool,
}

/// What the headers of a record need, roughly.
const HEADER_BYTES: usize = 512;

/// Where a reader is.
struct Cursor {
    /// By name on the brokers.
    topics: HashMap<String, &'static Topic>,
    /// Offset of the next record, by partition and with the topic's name on the brokers.
    positions: HashMap<Partition, (String, u64)>,
}

impl KafkaReader {
    pub(super) fn new(config: ClientConfig, settings: &Settings, from: &[(Partition, u64)]) -> Result<Self, LogError> {
        // Where records are rare, nothing is gained by collecting, and a fetch may wait longer for the next one.
        let rare = from.iter().all(|(partition, _)| partition.topic.settings != EVENTS);
        let (wait_ms, bytes_min) = if rare { ("500", "1") } else { ("10", "65536") };
        let fetching = [
            // One fetch is under way per broker: a partition that is assigned in the meantime waits this long.
            ("fetch.wait.max.ms", wait_ms),
            // Left to itself, every record is fetched alone by every reader, and broker and readers do little else. So
            // the broker collects, and a record is seen at most so much later.
            ("fetch.min.bytes", bytes_min),
            ("queued.min.messages", "20000"),
            ("queued.max.messages.kbytes", "16384"),
        ];
        Self::make(config, settings, from, &fetching)
    }

    /// For [`Self::at`]: a fetch asks for as little as can be, and brings the one batch in which the record is.
    pub(super) fn of_single_records(config: ClientConfig, settings: &Settings) -> Result<Self, LogError> {
        let fetching = [("fetch.wait.max.ms", "10"), ("fetch.message.max.bytes", "1"), ("queued.min.messages", "1")];
        Self::make(config, settings, &[], &fetching)
    }

    fn make(
        mut config: ClientConfig,
        settings: &Settings,
        from: &[(Partition, u64)],
        fetching: &[(&str, &str)],
    ) -> Result<Self, LogError> {
        config
            // Needed for assigning partitions by hand; nobody joins it and nothing is committed.
            .set("group.id", format!("{}lonja-readers", settings.prefix))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_uncommitted")
            .set("check.crcs", "false")
            // How long a full queue pauses; a second by default.
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.error.backoff.ms", "50");
        for (name, value) in fetching {
            config.set(*name, *value);
        }
        let consumer = config.create_with_context(Quiet).map_err(|error| unavailable("making a consumer", &error))?;
        let cursor = Cursor::new(&settings.prefix, from);
        let consumer = DroppedElsewhere::new(consumer);
        let mut reader = Self { consumer, cursor, request_timeout: settings.request_timeout, stopped: true };
        reader.assign()?;
        Ok(reader)
    }

    /// The record at `offset`, which is in the log. Then it reads nothing until it is asked again.
    pub(super) fn at(&mut self, prefix: &str, partition: Partition, offset: u64) -> Result<Option<Stored>, LogError> {
        self.cursor = Cursor::new(prefix, &[(partition, offset)]);
        self.assign()?;
        let found = self.poll(1, self.request_timeout)?.pop();
        self.cursor = Cursor::new(prefix, &[]);
        self.assign()?;
        match found {
            Some(stored) => Ok(Some(stored).filter(|stored| stored.offset == offset)),
            None => Err(LogError::Unavailable {
                doing: format!("reading {partition}@{offset}"),
                detail: "nothing came".to_owned(),
            }),
        }
    }

    fn assign(&mut self) -> Result<(), LogError> {
        let failed = |error: KafkaError| unavailable("assigning partitions to a reader", &error);
        let mut list = TopicPartitionList::with_capacity(self.cursor.positions.len());
        for (&partition, (name, next)) in &self.cursor.positions {
            let offset = i64::try_from(*next).map_err(|_| LogError::OutOfRange { partition, offset: *next })?;
            list.add_partition_offset(name, number(partition), Offset::Offset(offset)).map_err(failed)?;
        }
        self.consumer.assign(&list).map_err(failed)?;
        self.stopped = false;
        Ok(())
    }

    /// What to say after an error of the client, which may have come amid records.
    fn after(&mut self, error: &KafkaError, batch: Vec<Stored>) -> Result<Vec<Stored>, LogError> {
        // Any other error may have stopped a partition.
        self.stopped = !is_outage(error);
        if !batch.is_empty() {
            tracing::debug!(%error, "reading will go on");
            return Ok(batch);
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset) => Err(self.out_of_range(error)),
            _ => Err(unavailable("reading", error)),
        }
    }

    /// The client says that some position is not in the log, but not which.
    fn out_of_range(&self, error: &KafkaError) -> LogError {
        for (&partition, (name, next)) in &self.cursor.positions {
            match self.consumer.fetch_watermarks(name, number(partition), self.request_timeout) {
                Ok((low, high)) if (low..=high).contains(&next.cast_signed()) => {}
                Ok(_) => return LogError::OutOfRange { partition, offset: *next },
                Err(error) => return unavailable(&format!("asking for the ends of {partition}"), &error),
            }
        }
        unavailable("reading", error)
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError> {
        if self.stopped {
            self.assign()?;
        }
        let deadline = Instant::now() + wait;
        let mut batch = Vec::new();
        while batch.len() < max {
            // Whatever is there already is taken without waiting.
            let patience = match batch.is_empty() {
                true => deadline.saturating_duration_since(Instant::now()),
                false => Duration::ZERO,
            };
            match self.consumer.poll(patience) {
                Some(Ok(message)) => batch.extend(self.cursor.take(&message)),
                Some(Err(error)) => return self.after(&error, batch),
                None if !batch.is_empty() || Instant::now() >= deadline => break,
                None => {}
            }
        }
        Ok(batch)
    }
}

impl Cursor {
    fn new(prefix: &str, from: &[(Partition, u64)]) -> Self {
        let name = |topic: &Topic| format!("{prefix}{}", topic.name);
        Self {
            topics: from.iter().map(|(partition, _)| (name(partition.topic), partition.topic)).collect(),
            positions: from.iter().map(|&(partition, next)| (partition, (name(partition.topic), next))).collect(),
        }
    }

    /// The record that `message` is, if it is one that is asked for and was not returned before.
    fn take(&mut self, message: &BorrowedMessage<'_>) -> Option<Stored> {
        let topic = self.topics.get(message.topic())?;
        let partition = Partition { topic, number: u32::try_from(message.partition()).ok()? };
        let offset = u64::try_from(message.offset()).ok()?;
        let (_, next) = self.positions.get_mut(&partition)?;
        // A message that was fetched before partitions were assigned again.
        if offset < *next {
            return None;
        }
        *next = offset + 1;
        let timestamp = Timestamp(message.timestamp().to_millis().unwrap_or_default());
        Some(Stored { partition, offset, timestamp, record: record_of(message), envelope: None, event: None })
    }
}

/// The message's bytes, all in one allocation: a record has a dozen headers, and there are many records.
fn record_of(message: &BorrowedMessage<'_>) -> Record {
    let mut bytes = Vec::with_capacity(message.key_len() + message.payload_len() + HEADER_BYTES);
    let mut copy = |part: &[u8]| {
        let start = bytes.len();
        bytes.extend_from_slice(part);
        start..bytes.len()
    };
    let key = copy(message.key().unwrap_or_default());
    let payload = copy(message.payload().unwrap_or_default());
    let mut names = Names::default();
    let headers: Vec<_> = headers_of(message, |name, value| (names.intern(name), copy(value)));
    let bytes = Bytes::from(bytes);
    let headers = headers.into_iter().map(|(name, value)| (name, bytes.slice(value))).collect();
    Record { key: bytes.slice(key), headers: Arc::new(headers), payload: bytes.slice(payload) }
}

/// The record's headers; a header without a value has an empty one.
///
/// The client library panics at a header name that is not UTF-8. None of our records has one, and a foreign record must
/// not stop every reader for ever: such a record has no headers, so that it is void for all readers alike.
fn headers_of<H>(message: &BorrowedMessage<'_>, mut read: impl FnMut(&str, &[u8]) -> H) -> Vec<H> {
    let Some(headers) = message.headers() else { return Vec::new() };
    let all =
        AssertUnwindSafe(|| headers.iter().map(|header| read(header.key, header.value.unwrap_or_default())).collect());
    catch_unwind(all).unwrap_or_default()
}
