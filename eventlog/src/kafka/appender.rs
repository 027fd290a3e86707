//! Appends through one idempotent producer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::Timestamp;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::elsewhere::DroppedElsewhere;
use super::{Settings, logging, number, unavailable};
use crate::{AppendError, Appended, Appender, LogError, Partition, Record, Report, ReportSink};

pub(super) struct KafkaAppender {
    producer: DroppedElsewhere<ThreadedProducer<Deliveries>>,
    prefix: String,
    dropped: Arc<AtomicBool>,
}

impl KafkaAppender {
    pub(super) fn new(mut config: ClientConfig, settings: &Settings, sink: ReportSink) -> Result<Self, LogError> {
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // An error stops the producer for good, instead of leaving a hole and going on.
            .set("enable.gapless.guarantee", "true")
            // So would a record that is given up because of its age; deadlines are the callers'.
            .set("message.timeout.ms", "0")
            .set("linger.ms", "0")
            // How long a topic that no broker knows is waited for: it may have been made just now. 30 s by default.
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("message.max.bytes", MESSAGE_BYTES_MAX);
        let dropped = Arc::new(AtomicBool::new(false));
        let deliveries = Deliveries { sink, dropped: Arc::clone(&dropped) };
        let producer =
            config.create_with_context(deliveries).map_err(|error| unavailable("making a producer", &error))?;
        Ok(Self { producer: DroppedElsewhere::new(producer), prefix: settings.prefix.clone(), dropped })
    }
}

/// As the topics' `max.message.bytes`.
const MESSAGE_BYTES_MAX: &str = "1048588";

impl Appender for KafkaAppender {
    fn append(&self, partition: Partition, record: &Record, token: u64) -> Result<(), AppendError> {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (name, value) in &record.headers {
            headers = headers.insert(Header { key: name, value: Some(value.as_ref()) });
        }
        let topic = format!("{}{}", self.prefix, partition.topic.name);
        let message = BaseRecord::with_opaque_to(&topic, Box::new(Pending { partition, token }))
            .partition(number(partition))
            .key(record.key.as_ref())
            .payload(record.payload.as_ref())
            .headers(headers);
        self.producer.send(message).map_err(|(error, _)| {
            let fatal = self.producer.client().fatal_error();
            let detail = fatal.as_ref().map_or_else(|| error.to_string(), |(_, reason)| format!("{error}: {reason}"));
            AppendError { detail, fatal: fatal.is_some() }
        })
    }
}

impl Drop for KafkaAppender {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Release);
    }
}

/// Travels with a record through the client.
struct Pending {
    partition: Partition,
    token: u64,
}

/// Turns delivery reports into [`Report`]s, on the producer's polling thread.
struct Deliveries {
    sink: ReportSink,
    dropped: Arc<AtomicBool>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        logging::line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        logging::error(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        if self.dropped.load(Ordering::Acquire) {
            return;
        }
        let outcome = match result {
            Ok(message) => Ok(Appended {
                // After a lost acknowledgement the client knows that the record is there, but not where (-1001).
                offset: u64::try_from(message.offset()).ok(),
                timestamp: Timestamp(message.timestamp().to_millis().unwrap_or_default()),
            }),
            // With the gapless guarantee an error that reaches a record has either made the producer useless or says
            // that the topic is not there. A new appender costs little, one that is used too long costs the order.
            Err((error, _)) => Err(AppendError { detail: describe(error), fatal: true }),
        };
        (self.sink)(Report { partition: pending.partition, token: pending.token, outcome });
    }
}

fn describe(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
            "given up after a fatal error of the producer".to_owned()
        }
        _ => error.to_string(),
    }
}
