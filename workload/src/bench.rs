//! `workload bench`: figures for people to judge. No test depends on any of them.

pub mod ceiling;
pub mod commands;
mod fill;
mod plot;
pub mod rebuild;
pub mod replay;
pub mod report;
pub mod restore;
mod subjects;
pub mod transactions;

use anyhow::Result;

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Orders over HTTP: Lonja on Kafka and embedded, beside its ceiling and beside cqrs-es
    Commands(commands::Args),
    /// Views built from an empty checkpoint, beside what their stores take at most
    Replay(replay::Args),
    /// Views built anew beside live traffic: speed, forecasts, what customers feel, and whether the rows are right
    Rebuild(rebuild::Args),
    /// Restarts, takeover, memory, and the cost of a command as the log grows
    Restore(restore::Args),
}

/// Runs one bench.
///
/// # Errors
/// When a subject cannot be started or fails.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Commands(args) => commands::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Rebuild(args) => rebuild::run(args).map(drop),
        Command::Restore(args) => restore::run(args),
    }
}
