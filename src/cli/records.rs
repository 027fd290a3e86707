//! `lonja log` and `lonja export`: who reads records.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use runtime::config::{LogConfig, NodeConfig, OperatorConfig};
use schemas::{Topic, topics};

/// A look at the log.
#[derive(Debug, Subcommand)]
pub enum Look {
    /// Show the newest records of a topic
    Tail {
        /// Which records.
        #[command(flatten)]
        records: Records,
        /// Go on showing what is appended, until interrupted
        #[arg(long)]
        follow: bool,
    },
    /// Show records of a topic from a place on; from its start, or the whole history of a key, without one
    Show {
        /// Which records.
        #[command(flatten)]
        records: Records,
        /// From this offset on; of one partition
        #[arg(long, value_name = "OFFSET", requires = "place")]
        from: Option<u64>,
        /// From the first record on that was appended then or later, such as 2026-01-31T12:00:00Z
        #[arg(long, value_name = "TIME", conflicts_with = "from")]
        since: Option<String>,
    },
    /// Count what stands in each partition, and how much of it counts
    Stats {
        /// Which process, and who asks.
        #[command(flatten)]
        operator: OperatorConfig,
        /// Such as order.events
        topic: String,
        /// One partition
        #[arg(long, value_name = "NUMBER")]
        partition: Option<u32>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which records of a topic, and in which form.
#[derive(Debug, Args)]
pub struct Records {
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
    /// Such as order.events
    pub topic: String,
    /// One partition
    #[arg(long, value_name = "NUMBER", group = "place")]
    pub partition: Option<u32>,
    /// Only records of this key
    #[arg(long, value_name = "KEY", group = "place")]
    pub key: Option<String>,
    /// How many records
    #[arg(long, value_name = "RECORDS", default_value = "20", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
    /// As JSON, a record a line
    #[arg(long)]
    pub json: bool,
}

/// What is exported, and to where.
#[derive(Debug, Args)]
pub struct Export {
    /// Such as order.events
    #[arg(value_parser = topic)]
    pub topic: &'static Topic,
    /// Into which directory; it is made, or gone on with
    #[arg(long, value_name = "DIRECTORY")]
    pub to: PathBuf,
    /// One partition; all without it
    #[arg(long, value_name = "NUMBER")]
    pub partition: Option<u32>,
    /// As JSON: a line for each finished file, and one with the sums at the end
    #[arg(long)]
    pub json: bool,
    /// Where an embedded log is.
    #[command(flatten)]
    pub node: NodeConfig,
    /// Where the log is.
    #[command(flatten)]
    pub log: LogConfig,
}

/// Reads the name of a topic of events.
fn topic(name: &str) -> Result<&'static Topic, String> {
    let names = || topics::ALL.iter().map(|topic| topic.name).collect::<Vec<_>>().join(", ");
    topics::by_name(name).ok_or_else(|| format!("topics of events are {}", names()))
}
