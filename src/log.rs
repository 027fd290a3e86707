//! Opens the log that the settings name, with the codec that belongs to it.

use std::sync::Arc;

use eventlog::embedded::EmbeddedLog;
use eventlog::kafka::topics::TopicsError;
use eventlog::kafka::{KafkaLog, Settings};
use eventlog::{EventLog, LogError};
use runtime::Config;
use runtime::config::SecretUrl;
use schemas::registry::RegistryError;
use schemas::{Codec, CodecError, topics};

use crate::Failure;

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
pub async fn open(config: &Config) -> Result<Opened, Failure> {
    match (&config.log.kafka, &config.log.registry) {
        (Some(brokers), Some(registry)) => kafka(brokers.clone(), registry, &config.log.topic_prefix).await,
        _ => {
            let dir = config.node.data.join("log");
            let log = blocking(move || EmbeddedLog::open(&dir, topics::ALL)).await?;
            Ok(Opened { log: Arc::new(log), codec: Arc::new(Codec::local()) })
        }
    }
}

async fn kafka(brokers: String, registry: &SecretUrl, prefix: &str) -> Result<Opened, Failure> {
    let log = connect(&brokers, prefix).await?;
    let flag = if prefix.is_empty() { String::new() } else { format!(" --topic-prefix {prefix}") };
    let run = format!("lonja topics apply --kafka {brokers}{flag}");
    let log = blocking(move || log.check_topics().map(|()| log)).await.map_err(|failure| prepare(failure, run))?;
    let codec = Codec::connect(registry.expose(), prefix).await.map_err(|error| {
        let run = format!("lonja schemas apply --registry {registry}");
        prepare(error.into(), run)
    })?;
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

/// Adds the command that helps, where one does.
fn prepare(failure: Failure, run: String) -> Failure {
    let Failure::Other(error) = failure else { return failure };
    let topics = match error.downcast_ref::<TopicsError>() {
        Some(TopicsError::Different(_) | TopicsError::Log(LogError::NoTopic(_))) => true,
        Some(TopicsError::Log(_) | TopicsError::Refused { .. }) | None => false,
    };
    let schemas = matches!(
        error.downcast_ref::<CodecError>(),
        Some(CodecError::Schema { source: RegistryError::NotRegistered(_), .. })
    );
    if topics || schemas { Failure::NotPrepared { error, run } } else { Failure::Other(error) }
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
