//! Opens the log that the settings name, with the codec that belongs to it.

use std::sync::Arc;

use eventlog::embedded::EmbeddedLog;
use eventlog::kafka::topics::TopicsError;
use eventlog::kafka::{KafkaLog, Settings};
use eventlog::{EventLog, LogError};
use runtime::config::{LogConfig, NodeConfig};
use schemas::registry::apply::{self as registry, SchemasError};
use schemas::{Codec, topics};

use crate::Failure;
use crate::cli::steps::{Cluster, Registry};

/// A log that can be used, and what reads it.
pub struct Opened {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Reads and writes its payloads.
    pub codec: Arc<Codec>,
}

/// Opens the log. With Kafka, its topics and the registered schemas are checked first.
///
/// # Errors
/// When the log cannot be used; where something was not prepared, with the command that prepares it.
pub async fn open(node: &NodeConfig, log: &LogConfig) -> Result<Opened, Failure> {
    match (&log.kafka, &log.registry) {
        (Some(kafka), Some(registry)) => {
            let topic_prefix = log.topic_prefix.clone();
            let cluster = Cluster { kafka: kafka.clone(), topic_prefix: topic_prefix.clone() };
            self::kafka(cluster, Registry { registry: registry.clone(), topic_prefix }).await
        }
        _ => {
            let dir = node.data.join("log");
            let log = blocking(move || EmbeddedLog::open(&dir, topics::EMBEDDED)).await?;
            Ok(Opened { log: Arc::new(log), codec: Arc::new(Codec::local()) })
        }
    }
}

async fn kafka(cluster: Cluster, registry: Registry) -> Result<Opened, Failure> {
    let log = connect(&cluster.kafka, &cluster.topic_prefix).await?;
    let log = check_topics(log, &cluster).await?;
    registry::check(registry.registry.expose(), &registry.topic_prefix)
        .await
        .map_err(|error| unregistered(error, &registry))?;
    let codec = Codec::connect(registry.registry.expose(), &registry.topic_prefix).await?;
    Ok(Opened { log: Arc::new(log), codec: Arc::new(codec) })
}

/// The log on a Kafka cluster, whatever its topics are like.
///
/// # Errors
/// When no broker answers.
pub async fn connect(brokers: &str, prefix: &str) -> Result<KafkaLog, Failure> {
    let (brokers, prefix) = (brokers.to_owned(), prefix.to_owned());
    blocking(move || KafkaLog::connect(&brokers, Settings { prefix, ..Settings::default() })).await
}

/// Whether every topic is as it must be.
///
/// # Errors
/// What is not, with the command that prepares it.
pub async fn check_topics(log: KafkaLog, cluster: &Cluster) -> Result<KafkaLog, Failure> {
    let run = format!("lonja topics apply --kafka {}{}", cluster.kafka, prefix_flag(&cluster.topic_prefix));
    let (log, checked) = blocking(move || {
        let checked = log.check_topics();
        Ok::<_, anyhow::Error>((log, checked))
    })
    .await?;
    match checked {
        Ok(()) => Ok(log),
        Err(error @ (TopicsError::Different(_) | TopicsError::Log(LogError::NoTopic(_)))) => {
            Err(Failure::NotPrepared { error: error.into(), run })
        }
        Err(error) => Err(error.into()),
    }
}

/// Schemas that are not as they must be, with the command that prepares them.
#[must_use]
pub fn unregistered(error: SchemasError, args: &Registry) -> Failure {
    let run = format!("lonja schemas apply --registry {}{}", args.registry, prefix_flag(&args.topic_prefix));
    match error {
        SchemasError::NotApplied(_) => Failure::NotPrepared { error: error.into(), run },
        SchemasError::Registry(_) | SchemasError::Incompatible(_) => error.into(),
    }
}

fn prefix_flag(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!(" --topic-prefix {prefix}") }
}

/// Runs what blocks (disks, librdkafka) beside the runtime.
///
/// # Errors
/// What `work` says.
pub async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Failure>
where
    T: Send + 'static,
    E: Into<anyhow::Error> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await?.map_err(|error| Failure::Other(error.into()))
}
