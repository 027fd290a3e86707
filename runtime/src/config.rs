//! The settings of a process: one struct per concern, each field with its default and unit, from a flag or from a
//! variable of the environment. Nothing else reads the environment.

mod cluster;
mod commands;
mod http;
mod log;
mod operators;
mod report;
mod secret;
mod stores;
mod telemetry;

use std::time::Duration;

pub use cluster::ClusterConfig;
pub use commands::CommandsConfig;
pub use http::HttpConfig;
pub use log::{LogConfig, NodeConfig};
pub use operators::{OperatorConfig, OperatorsConfig};
pub use report::{Field, Source, report};
pub use secret::{SecretUrl, redact};
pub use stores::StoresConfig;
pub use telemetry::{LogFormat, TelemetryConfig};

/// Exit code of a process whose settings are not usable: nothing was started, no port was bound.
pub const EXIT_CONFIG: u8 = 2;

/// Everything that can be set.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Who this process is.
    #[command(flatten)]
    pub node: NodeConfig,
    /// Where the log is.
    #[command(flatten)]
    pub log: LogConfig,
    /// Where the views are.
    #[command(flatten)]
    pub stores: StoresConfig,
    /// How requests are served.
    #[command(flatten)]
    pub http: HttpConfig,
    /// How commands are decided.
    #[command(flatten)]
    pub commands: CommandsConfig,
    /// How other nodes reach this one.
    #[command(flatten)]
    pub cluster: ClusterConfig,
    /// Where operators are answered.
    #[command(flatten)]
    pub operators: OperatorsConfig,
}

/// Why settings do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Kafka without a schema registry.
    #[error("--kafka needs --registry (or LONJA_REGISTRY): the records on Kafka carry the registry's schema ids")]
    RegistryMissing,
    /// A schema registry without Kafka.
    #[error("--registry is of use with --kafka (or LONJA_KAFKA) only: the embedded log needs no registry")]
    KafkaMissing,
    /// A role of a cluster without Kafka.
    #[error("`lonja {role}` needs --kafka (or LONJA_KAFKA): roles in processes of their own meet on Kafka")]
    RoleWithoutKafka {
        /// Which role.
        role: &'static str,
    },
    /// Views of a store that is not configured.
    #[error("name the stores of the views that are to be kept: --postgres, --mysql or --mongo")]
    StoreMissing,
    /// A name that Kafka or a file system would not accept.
    #[error("{field} is {text:?}: it has up to 64 ASCII letters, digits and -_.")]
    Name {
        /// Which field.
        field: &'static str,
        /// What it says.
        text: String,
    },
}

impl Config {
    /// Checks what no field can say alone.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.node.validate()?;
        self.log.validate()
    }
}

/// Reads a number of milliseconds, at least 1.
fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(Duration::from_millis(number.into())),
        _ => Err("a whole number of milliseconds, at least 1".into()),
    }
}

/// Reads a number that is at least 1.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number as usize),
        _ => Err("a whole number, at least 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn parse(arguments: &[&str]) -> Config {
        let command = Config::augment_args(Command::new("lonja").no_binary_name(true));
        // What the environment of the test run says of real servers must not slip in.
        let command = command.mut_args(|argument| argument.env(None::<&str>));
        Config::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
    }

    #[test]
    fn a_name_has_an_alphabet() {
        assert!(parse(&["--node", "a b"]).validate().is_err() && parse(&["--topic-prefix", "a/"]).validate().is_err());
        assert_eq!(parse(&["--node", "shop-1", "--topic-prefix", "test."]).validate(), Ok(()));
    }

    #[test]
    fn kafka_and_the_registry_come_together() {
        assert_eq!(parse(&[]).validate(), Ok(()));
        assert_eq!(parse(&["--kafka", "h:1"]).validate(), Err(ConfigError::RegistryMissing));
        assert_eq!(parse(&["--registry", "http://h:1"]).validate(), Err(ConfigError::KafkaMissing));
        assert_eq!(parse(&["--kafka", "h:1", "--registry", "http://h:1"]).validate(), Ok(()));
    }

    #[test]
    fn a_password_is_never_shown() {
        let config = parse(&["--postgres", "postgres://app:hunter2@127.0.0.1:5432/lonja"]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && shown.contains("postgres://app:***@127.0.0.1:5432/lonja"), "{shown}");
    }

    #[test]
    fn each_field_has_a_unit_an_environment_variable_and_a_description() {
        let command = Config::augment_args(Command::new("lonja"));
        for argument in command.get_arguments() {
            let name = argument.get_id();
            assert!(argument.get_env().is_some_and(|env| env.to_string_lossy().starts_with("LONJA_")), "{name}");
            assert!(argument.get_help().is_some(), "{name} is not described");
            assert!(argument.get_value_names().is_some_and(|units| units[0] != name.as_str()), "{name} has no unit");
        }
    }

    #[test]
    fn a_duration_is_at_least_a_millisecond() {
        assert_eq!(milliseconds("250"), Ok(Duration::from_millis(250)));
        assert!(milliseconds("0").is_err() && milliseconds("-1").is_err() && milliseconds("1s").is_err());
    }
}
