//! The log in Kafka, or anything that speaks its protocol: idempotent produce, fetch and consumer groups are all it uses.
//!
//! The appender is Confluent's own client (`confluent-kafka`), everything else librdkafka (`rdkafka`): appending is where
//! their difference is large, and groups, readers and topics have long stood on the other. Every call that blocks is made on
//! the caller's thread or on one of its own, never on a caller's runtime.

mod appender;
mod elsewhere;
mod logging;
mod membership;
mod reader;
pub mod topics;

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use schemas::Topic;
use uuid::Uuid;

use logging::Quiet;

use crate::{Appender, AssignmentSink, EventLog, LogError, Membership, Partition, Reader, ReportSink, Stored};

/// How long to wait before asking again what the brokers do not know yet.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);

/// How to use a cluster.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Put before the name of each topic and group on the brokers, so that several shops can share a cluster.
    pub prefix: String,
    /// After how long without a sign of life the broker takes a member's partitions away. The broker's own limits are
    /// 6 s and 30 min by default.
    pub session_timeout: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            session_timeout: Duration::from_secs(6),
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// A log on Kafka.
pub struct KafkaLog {
    brokers: String,
    settings: Settings,
    cluster_id: String,
    /// For questions about offsets and topics; it reads nothing.
    client: BaseConsumer<Quiet>,
    /// For single records, once somebody has asked for one.
    single: Mutex<Option<reader::KafkaReader>>,
}

impl KafkaLog {
    /// The log on the cluster that `brokers` (`HOST:PORT`, separated by commas) belong to. Whether its topics are as
    /// they must be is [`Self::check_topics`]'s question.
    ///
    /// # Errors
    /// When no broker answers.
    pub fn connect(brokers: &str, settings: Settings) -> Result<Self, LogError> {
        let connecting = |detail: String| LogError::Unavailable { doing: format!("connecting to {brokers}"), detail };
        let client: BaseConsumer<Quiet> = client_config(brokers, &settings)
            .create_with_context(Quiet)
            .map_err(|error| connecting(error.to_string()))?;
        let cluster_id = client.client().fetch_cluster_id(settings.request_timeout);
        let cluster_id = cluster_id.ok_or_else(|| connecting("no broker answers".into()))?;
        Ok(Self { brokers: brokers.to_owned(), settings, cluster_id, client, single: Mutex::default() })
    }

    /// What the topic is called on the brokers.
    fn name(&self, topic: &Topic) -> String {
        format!("{}{}", self.settings.prefix, topic.name)
    }

    fn ask_end(&self, partition: Partition) -> Result<u64, KafkaError> {
        self.drain();
        let mut query = TopicPartitionList::new();
        // As a time, "the end" makes one ListOffsets request, where fetching the watermarks makes two.
        query.add_partition_offset(&self.name(partition.topic), number(partition), Offset::End)?;
        let answer = self.client.offsets_for_times(query, self.settings.request_timeout)?;
        let elements = answer.elements();
        let element = elements.first().ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::BadMessage))?;
        element.error()?;
        match element.offset() {
            Offset::Offset(end) => Ok(end.cast_unsigned()),
            _ => Err(KafkaError::OffsetFetch(RDKafkaErrorCode::BadMessage)),
        }
    }

    fn config(&self) -> ClientConfig {
        client_config(&self.brokers, &self.settings)
    }

    /// What the brokers told the query client in the meantime is of no interest, but must not pile up.
    fn drain(&self) {
        while let Some(event) = self.client.poll(Duration::ZERO) {
            if let Err(error) = event {
                tracing::debug!(%error, "kafka client");
            }
        }
    }
}

impl EventLog for KafkaLog {
    /// Kafka gives each topic an id, but the safe part of the client library does not tell it. So this id stands for
    /// cluster and name alone, and that a topic was made anew shows by the rest of a checkpoint: the identity of the
    /// last record folded, which holds the random nonce of its term.
    fn topic_id(&self, topic: &'static Topic) -> Result<Uuid, LogError> {
        self.led_partitions(topic)?;
        Ok(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{}/{}", self.cluster_id, self.name(topic)).as_bytes()))
    }

    fn end(&self, partition: Partition) -> Result<u64, LogError> {
        let deadline = Instant::now() + self.settings.request_timeout;
        loop {
            match self.ask_end(partition) {
                // The partition is on its way to another leader, or to its first one.
                Err(error) if leader_is_moving(&error) && Instant::now() < deadline => {
                    std::thread::sleep(RETRY_BACKOFF);
                }
                Err(error) => {
                    let doing = format!("asking for the end of {partition}");
                    return Err(no_topic(partition.topic, &error).unwrap_or_else(|| unavailable(&doing, &error)));
                }
                Ok(end) => return Ok(end),
            }
        }
    }

    fn appender(&self, sink: ReportSink) -> Result<Box<dyn Appender>, LogError> {
        Ok(Box::new(appender::KafkaAppender::new(&self.brokers, &self.settings, sink)?))
    }

    fn reader(&self, from: &[(Partition, u64)]) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(reader::KafkaReader::new(self.config(), &self.settings, from)?))
    }

    /// By a client of its own that is kept, and fetches one batch.
    fn record(&self, partition: Partition, offset: u64) -> Result<Option<Stored>, LogError> {
        if self.end(partition)? <= offset {
            return Ok(None);
        }
        let mut kept = self.single.lock();
        let mut reader = match kept.take() {
            Some(reader) => reader,
            None => reader::KafkaReader::of_single_records(self.config(), &self.settings)?,
        };
        let stored = reader.at(&self.settings.prefix, partition, offset)?;
        *kept = Some(reader);
        Ok(stored)
    }

    fn join(
        &self,
        group: &str,
        node: &str,
        topics: &[&'static Topic],
        sink: AssignmentSink,
    ) -> Result<Box<dyn Membership>, LogError> {
        Ok(Box::new(membership::KafkaMembership::join(self.config(), &self.settings, group, node, topics, sink)?))
    }
}

/// What all clients have in common.
fn client_config(brokers: &str, settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "lonja")
        .set("allow.auto.create.topics", "false")
        // How long a connection that swallows everything can stall a client; 60 s by default.
        .set("socket.timeout.ms", settings.request_timeout.as_millis().to_string())
        // A topic that a broker did not know, or a partition that had no leader, when it was asked for is noticed this late at
        // the latest; 5 min by default.
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("enable.metrics.push", "false");
    config
}

/// Kafka counts partitions with a sign.
fn number(partition: Partition) -> i32 {
    i32::try_from(partition.number).unwrap_or(i32::MAX)
}

fn unavailable(doing: &str, error: &KafkaError) -> LogError {
    LogError::Unavailable { doing: doing.to_owned(), detail: error.to_string() }
}

fn leader_is_moving(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{FencedLeaderEpoch, LeaderNotAvailable, NotLeaderForPartition, UnknownLeaderEpoch};
    let moving = [NotLeaderForPartition, LeaderNotAvailable, FencedLeaderEpoch, UnknownLeaderEpoch];
    error.rdkafka_error_code().is_some_and(|code| moving.contains(&code))
}

fn no_topic(topic: &'static Topic, error: &KafkaError) -> Option<LogError> {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    let code = error.rdkafka_error_code()?;
    matches!(code, UnknownPartition | UnknownTopic | UnknownTopicOrPartition).then_some(LogError::NoTopic(topic.name))
}
