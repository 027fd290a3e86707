//! `lonja replay`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use runtime::config::OperatorConfig;

/// What is done with generations of views.
#[derive(Debug, Subcommand)]
pub enum Replay {
    /// Make a new generation of a view and fold the log into it, beside the live one
    Start(ReplayStart),
    /// Show how generations are coming on
    Status(ReplayStatus),
    /// Do not fold one for the time being
    Pause(ReplayChange),
    /// Fold it again
    Resume(ReplayResume),
    /// Fold the rest of the partitions, too
    Widen(ReplayChange),
    /// Delete one that was never live
    Cancel(ReplayChange),
    /// Compare one with an independent fold of the log
    Verify(ReplayChange),
    /// Show which rows are different from those of the live one
    Diff(ReplayDiff),
    /// Have readers see it, once it has folded as much as the live one
    Promote(ReplayChange),
    /// Have readers see the former one again
    Rollback(ReplayBack),
    /// Delete one that was live
    Retire(ReplayChange),
}

/// Of which view, and how fast.
#[derive(Debug, Args)]
pub struct ReplayStart {
    /// Of which view
    pub view: String,
    /// Most events a second, to spare live traffic; 0 is no bound. Without it at most 1200, and fewer where the store is strained
    #[arg(long, value_name = "EVENTS/S")]
    pub rate: Option<u64>,
    /// Only these partitions, such as order.events/3,order.events/7; to try a new fold on a part of the log first
    #[arg(long, value_name = "PARTITION", value_delimiter = ',')]
    pub partitions: Vec<String>,
    /// Only from there on: a time such as 2026-01-31T12:00:00Z, or an offset of the one partition. For views whose rows are each made by one record
    #[arg(long, value_name = "OFFSET|TIME")]
    pub from: Option<String>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which one is folded again, and how fast.
#[derive(Debug, Args)]
pub struct ReplayResume {
    /// Which one, and why.
    #[command(flatten)]
    pub change: ReplayChange,
    /// Most events a second from now on; 0 is no bound. As before without it
    #[arg(long, value_name = "EVENTS/S")]
    pub rate: Option<u64>,
}

/// Which views, and in which form.
#[derive(Debug, Args)]
pub struct ReplayStatus {
    /// One view; all without it
    pub view: Option<String>,
    /// Again every second, until nothing is being built
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which generation, and why.
#[derive(Debug, Args)]
pub struct ReplayChange {
    /// Of which view
    pub view: String,
    /// Which generation, as the status numbers it
    pub generation: u32,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Of which view, and why.
#[derive(Debug, Args)]
pub struct ReplayBack {
    /// Of which view
    pub view: String,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which generation, and in which form.
#[derive(Debug, Args)]
pub struct ReplayDiff {
    /// Of which view
    pub view: String,
    /// Which generation, as the status numbers it
    pub generation: u32,
    /// How many different rows are shown
    #[arg(long, value_name = "ROWS", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// As a page in this file, too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}
