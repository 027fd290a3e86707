//! `lonja parked`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use runtime::config::OperatorConfig;

/// What is done about parked events.
#[derive(Debug, Subcommand)]
pub enum Parked {
    /// List the aggregates whose events are parked
    List(ParkedList),
    /// Show why events are parked, the most frequent reason first
    Group(ParkedGroup),
    /// Show the parked events of one aggregate, with headers and bytes
    Show(ParkedShow),
    /// Try them again, in their order
    Retry(ParkedRetry),
    /// Leave them out of the view, for good
    Discard(ParkedDiscard),
    /// Have the view read another event in place of one; the log stays as it is
    Correct(ParkedCorrect),
}

/// Which of what is parked, and in which form.
#[derive(Debug, Args)]
pub struct ParkedList {
    /// One view; all without it
    #[arg(long, value_name = "VIEW")]
    pub view: Option<String>,
    /// How many
    #[arg(long, value_name = "AGGREGATES", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which views, and in which form.
#[derive(Debug, Args)]
pub struct ParkedGroup {
    /// One view; all without it
    #[arg(long, value_name = "VIEW")]
    pub view: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// An aggregate whose events are parked, as the list names it.
#[derive(Debug, Args)]
pub struct ParkedKey {
    /// In which view
    pub view: String,
    /// Where its events stand, such as order.events/3
    pub partition: String,
    /// The key of its records
    pub key: String,
}

/// Which one, and in which form.
#[derive(Debug, Args)]
pub struct ParkedShow {
    /// Whose events.
    #[command(flatten)]
    pub key: ParkedKey,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which to try again, and why.
#[derive(Debug, Args)]
pub struct ParkedRetry {
    /// In which view
    pub view: String,
    /// Where the events of one aggregate stand, such as order.events/3
    #[arg(requires = "key", required_unless_present = "all", conflicts_with = "all")]
    pub partition: Option<String>,
    /// The key of its records
    pub key: Option<String>,
    /// Every aggregate whose events are parked
    #[arg(long)]
    pub all: bool,
    /// Only those whose first event has this cause
    #[arg(long, value_name = "CAUSE")]
    pub cause: Option<String>,
    /// At most so many
    #[arg(long, value_name = "AGGREGATES")]
    pub limit: Option<u64>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which to leave out, and why.
#[derive(Debug, Args)]
pub struct ParkedDiscard {
    /// Whose events.
    #[command(flatten)]
    pub key: ParkedKey,
    /// One event; all that are parked of the aggregate without it
    #[arg(long, value_name = "OFFSET")]
    pub offset: Option<u64>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which to correct, how, and why.
#[derive(Debug, Args)]
pub struct ParkedCorrect {
    /// Whose event.
    #[command(flatten)]
    pub key: ParkedKey,
    /// Which event
    #[arg(long, value_name = "OFFSET")]
    pub offset: u64,
    /// A file with the event as JSON, by the Avro schema of its type
    #[arg(long, value_name = "FILE")]
    pub event: PathBuf,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}
