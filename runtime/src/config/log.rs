use std::path::PathBuf;

use super::{ConfigError, SecretUrl};

/// Who this process is, and where its files are.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Node")]
pub struct NodeConfig {
    /// Where this process keeps its files: the embedded log, what was decided of parked events of views in memory, and caches.
    #[arg(long, env = "LONJA_DATA", value_name = "DIRECTORY", default_value = ".lonja/")]
    pub data: PathBuf,
    /// Name of this process among the owners of the log: stable over restarts, different on each node.
    #[arg(long, env = "LONJA_NODE", value_name = "NAME", default_value_t = host_name())]
    pub node: String,
}

/// Where the log is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogConfig {
    /// Kafka's bootstrap servers, separated by commas; without it the log is embedded in the data directory.
    #[arg(long, env = "LONJA_KAFKA", value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Schema registry of the Kafka cluster; needed with Kafka.
    #[arg(long, env = "LONJA_REGISTRY", value_name = "URL", hide_env_values = true)]
    pub registry: Option<SecretUrl>,
    /// Put before the name of each topic and group in Kafka, so that several shops can share a cluster.
    #[arg(long, env = "LONJA_TOPIC_PREFIX", value_name = "TEXT", default_value = "")]
    pub topic_prefix: String,
}

impl NodeConfig {
    /// Checks the name.
    ///
    /// # Errors
    /// When Kafka or a file system would not accept it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.node.is_empty() || self.node.len() > 64 || !is_name(&self.node) {
            return Err(ConfigError::Name { field: "--node", text: self.node.clone() });
        }
        Ok(())
    }
}

impl LogConfig {
    /// Checks what no field can say alone.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.topic_prefix.len() > 64 || !is_name(&self.topic_prefix) {
            return Err(ConfigError::Name { field: "--topic-prefix", text: self.topic_prefix.clone() });
        }
        match (&self.kafka, &self.registry) {
            (Some(_), None) => Err(ConfigError::RegistryMissing),
            (None, Some(_)) => Err(ConfigError::KafkaMissing),
            _ => Ok(()),
        }
    }
}

fn is_name(text: &str) -> bool {
    text.chars().all(in_names)
}

fn in_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// The name of this machine, in the alphabet of names.
pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let name = name.unwrap_or_default();
    let name: String = name.trim().chars().map(|c| if in_names(c) { c } else { '-' }).take(64).collect();
    if name.is_empty() { "lonja".to_owned() } else { name }
}
