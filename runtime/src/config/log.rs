use std::path::PathBuf;

use super::{ConfigError, SecretUrl};

/// Where the log is, and who this process is in it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogConfig {
    /// Where this process keeps its files: the embedded log, and caches that can be deleted.
    #[arg(long, env = "LONJA_DATA", value_name = "DIRECTORY", default_value = ".lonja/")]
    pub data: PathBuf,
    /// Kafka's bootstrap servers, separated by commas; without it the log is embedded in the data directory.
    #[arg(long, env = "LONJA_KAFKA", value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Schema registry of the Kafka cluster; needed with Kafka.
    #[arg(long, env = "LONJA_REGISTRY", value_name = "URL", hide_env_values = true)]
    pub registry: Option<SecretUrl>,
    /// Name of this process among the owners of the log: stable over restarts, different on each node.
    #[arg(long, env = "LONJA_NODE", value_name = "NAME", default_value_t = host_name())]
    pub node: String,
}

impl LogConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match (&self.kafka, &self.registry) {
            (Some(_), None) => return Err(ConfigError::RegistryMissing),
            (None, Some(_)) => return Err(ConfigError::KafkaMissing),
            _ => {}
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.node.is_empty() || self.node.len() > 64 || !self.node.chars().all(allowed) {
            return Err(ConfigError::Name { field: "--node", text: self.node.clone() });
        }
        Ok(())
    }
}

/// The name of this machine, in the alphabet of node names.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME").map_err(|_| ()));
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.unwrap_or_default().trim().chars().map(allowed).take(64).collect();
    if name.is_empty() { "lonja".to_owned() } else { name }
}
