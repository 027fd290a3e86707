//! Appends through one idempotent producer: Confluent's own client, translated from the Java one. It sends whatever is
//! waiting for a broker in one request, where librdkafka makes a request per partition; brokers then have far less to do
//! (ARCHITECTURE.md, "Where the time of a command goes").

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use confluent_kafka::common::Error;
use confluent_kafka::common::header::{RecordHeader, RecordHeaders};
use confluent_kafka::common::serialization::ByteArraySerializer;
use confluent_kafka::producer::{
    Callback, KafkaProducer, Producer, ProducerConfig, ProducerRecord, ProducerRecordOptionsBuilder, RecordMetadata,
};
use domain::Timestamp;
use futures::FutureExt;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Settings, number};
use crate::fault::mutant;
use crate::{AppendError, Appended, Appender, LogError, Partition, Record, Report, ReportSink};

pub(super) struct KafkaAppender {
    handed_over: UnboundedSender<(Record, Delivery)>,
    shared: Arc<Shared>,
}

/// What the appender, its thread and its deliveries know of each other.
struct Shared {
    sink: ReportSink,
    /// No report is wanted any more.
    dropped: AtomicBool,
    /// The producer must not be used any more: it was dropped, or a record is not known to have been appended.
    stop: Notify,
    producer: OnceLock<Weak<Bytewise>>,
}

type Bytewise = KafkaProducer<Vec<u8>, Vec<u8>>;

impl Shared {
    /// Nothing is sent any more. The producer's own task calls this when it hears of an error, and would send the next request
    /// before anybody else is woken: so it is told at once, and the first poll of a close without patience is what tells it.
    fn give_up(&self) {
        self.stop.notify_one();
        if let Some(producer) = self.producer.get().and_then(Weak::upgrade).filter(|_| !mutant("gapless")) {
            let _closing = producer.close_with_timeout(Duration::ZERO).now_or_never();
        }
    }
}

impl KafkaAppender {
    pub(super) fn new(brokers: &str, settings: &Settings, sink: ReportSink) -> Result<Self, LogError> {
        let failed = |detail: String| LogError::Unavailable { doing: "making a producer".into(), detail };
        let config = ProducerConfig::new(&config(brokers, settings)).map_err(|error| failed(error.to_string()))?;
        // One thread does all of it, so that what is handed over while it sends goes with the next request.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(error.to_string()))?;
        let producer = {
            let _inside = runtime.enter();
            KafkaProducer::new(config, ByteArraySerializer::default(), ByteArraySerializer::default())
                .map_err(|error| failed(error.to_string()))?
        };
        let (handed_over, waiting) = unbounded_channel();
        let shared =
            Arc::new(Shared { sink, dropped: AtomicBool::new(false), stop: Notify::new(), producer: OnceLock::new() });
        let producer = Arc::new(producer);
        // It is set once, here.
        let _ = shared.producer.set(Arc::downgrade(&producer));
        let work = append_all(producer, settings.prefix.clone(), waiting, Arc::clone(&shared));
        std::thread::Builder::new()
            .name("kafka-append".into())
            // With the runtime everything ends that the producer had under way, and what was not sent never is.
            .spawn(move || runtime.block_on(work))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self { handed_over, shared })
    }
}

fn config(brokers: &str, settings: &Settings) -> HashMap<String, String> {
    let request_timeout = settings.request_timeout.as_millis().to_string();
    let pairs = [
        ("bootstrap.servers", brokers),
        ("client.id", "lonja"),
        ("acks", "all"),
        ("enable.idempotence", "true"),
        // Sent at once when nothing is under way; what comes meanwhile goes together with the next request. Five under
        // way at a time, the default, make requests of fewer records and cost a fifth of the throughput.
        ("linger.ms", "0"),
        ("max.in.flight.requests.per.connection", "1"),
        // A record is not given up because of its age; deadlines are the callers'.
        ("delivery.timeout.ms", "2147483647"),
        // How long a topic that no broker knows is waited for: it may have been made just now. 60 s by default.
        ("max.block.ms", "5000"),
        ("request.timeout.ms", &request_timeout),
        ("max.request.size", REQUEST_BYTES_MAX),
        ("reconnect.backoff.ms", "50"),
        ("reconnect.backoff.max.ms", "500"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Of one request, which holds a batch per partition; a batch may have the topics' `max.message.bytes`.
const REQUEST_BYTES_MAX: &str = "8388608";

impl Appender for KafkaAppender {
    fn append(&self, partition: Partition, record: &Record, token: u64) -> Result<(), AppendError> {
        let delivery = Delivery { partition, token, shared: Arc::clone(&self.shared), reported: false };
        self.handed_over.send((record.clone(), delivery)).map_err(|refused| {
            let (_, delivery) = refused.0;
            delivery.forget();
            AppendError { detail: "the producer has stopped".into(), fatal: true }
        })
    }
}

impl Drop for KafkaAppender {
    fn drop(&mut self) {
        self.shared.dropped.store(true, Ordering::Release);
        self.shared.stop.notify_one();
    }
}

/// Hands records to the producer until it must stop. It stops at the first error: the producer by itself would go on
/// behind a record that it gave up, with a hole in its place.
async fn append_all(
    producer: Arc<Bytewise>,
    prefix: String,
    mut waiting: UnboundedReceiver<(Record, Delivery)>,
    shared: Arc<Shared>,
) {
    let send = async {
        let mut names = HashMap::new();
        while let Some((record, delivery)) = waiting.recv().await {
            let topic = delivery.partition.topic.name;
            let topic: &String = names.entry(topic).or_insert_with(|| format!("{prefix}{topic}"));
            // An error drops the delivery, which reports it.
            match message(topic, delivery.partition, &record) {
                Ok(message) => match producer.send(message, Some(Box::new(delivery))).await {
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "a record was not taken by the producer"),
                },
                Err(error) => tracing::error!(%error, "a record cannot be made a message"),
            }
        }
    };
    tokio::select! {
        () = shared.stop.notified(), if !mutant("gapless") => {}
        () = send => {}
    }
    // What was handed over since.
    waiting.close();
}

fn message<'a>(
    topic: &str,
    partition: Partition,
    record: &'a Record,
) -> Result<ProducerRecord<&'a [u8], &'a [u8]>, Error> {
    let header = |(name, value): &(Cow<'static, str>, Bytes)| RecordHeader::new(name.to_string(), Some(value.to_vec()));
    let options = ProducerRecordOptionsBuilder::new()
        .set_topic(topic.to_owned())
        .set_partition(Some(number(partition)))
        .set_key(Some(&record.key[..]))
        .set_value(Some(&record.payload[..]))
        .set_headers(Some(RecordHeaders::with_header_iter(record.headers.iter().map(header))));
    ProducerRecord::with_options(options.build()?).map_err(Error::LocalIllegalArgument)
}

/// Travels with a record through the client and reports exactly once what became of it.
struct Delivery {
    partition: Partition,
    token: u64,
    shared: Arc<Shared>,
    reported: bool,
}

impl Delivery {
    fn report(&mut self, outcome: Result<Appended, AppendError>) {
        if self.reported {
            return;
        }
        self.reported = true;
        if outcome.is_err() {
            self.shared.give_up();
        }
        if !self.shared.dropped.load(Ordering::Acquire) {
            (self.shared.sink)(Report { partition: self.partition, token: self.token, outcome });
        }
    }

    /// Nothing is to be reported.
    fn forget(mut self) {
        self.reported = true;
    }
}

impl Callback for Delivery {
    fn on_completion(mut self: Box<Self>, metadata: Option<&RecordMetadata>, error: Option<&Error>) {
        let outcome = match (metadata, error) {
            (Some(metadata), None) => Ok(Appended {
                // After a lost acknowledgement the client may know that the record is there, but not where.
                offset: metadata.has_offset().then(|| metadata.offset().cast_unsigned()),
                timestamp: Timestamp(metadata.timestamp()),
            }),
            (_, Some(error)) => Err(error.to_string()),
            (None, None) => Err("the client says neither where nor why not".to_owned()),
        };
        self.report(outcome.map_err(|detail| AppendError { detail, fatal: true }));
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.report(Err(AppendError { detail: "given up after an error of the producer".into(), fatal: true }));
    }
}
