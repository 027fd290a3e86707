//! `lonja config`, `topics`, `schemas` and `views`: what is done before a start.

use clap::{Args, Subcommand};
use runtime::Config;
use runtime::config::SecretUrl;

/// A look at the settings.
#[derive(Debug, Subcommand)]
pub enum Check {
    /// Show each setting of `serve` with its value, unit and source; exit with 2 when they are not usable
    Check(Box<Config>),
}

/// A step that prepares what the shop needs: never a side effect of a start.
#[derive(Debug, Subcommand)]
pub enum Step<A: Args, C: Args> {
    /// Make what is missing; refuse what cannot be changed
    Apply(A),
    /// Change nothing; fail when anything is not as it must be
    Check(C),
}

/// Which cluster.
#[derive(Debug, Args)]
pub struct Cluster {
    /// Kafka's bootstrap servers, separated by commas.
    #[arg(long, env = "LONJA_KAFKA", value_name = "HOST:PORT")]
    pub kafka: String,
    /// Put before the name of each topic.
    #[arg(long, env = "LONJA_TOPIC_PREFIX", value_name = "TEXT", default_value = "")]
    pub topic_prefix: String,
}

/// Which cluster, and how safe.
#[derive(Debug, Args)]
pub struct TopicsApply {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: Cluster,
    /// On how many brokers each partition is kept; 3 where there are three.
    #[arg(long, env = "LONJA_REPLICATION", value_name = "BROKERS", default_value = "1",
        value_parser = clap::value_parser!(i32).range(1..))]
    pub replication: i32,
}

/// Which registry.
#[derive(Debug, Args)]
pub struct Registry {
    /// The schema registry.
    #[arg(long, env = "LONJA_REGISTRY", value_name = "URL", hide_env_values = true)]
    pub registry: SecretUrl,
    /// Put before the name of each topic, and so of each subject.
    #[arg(long, env = "LONJA_TOPIC_PREFIX", value_name = "TEXT", default_value = "")]
    pub topic_prefix: String,
}
