//! The project's own commands: `cargo xtask stack …` runs the real servers, `cargo xtask test` runs every test against them,
//! `cargo xtask data|sell|faults|bench` proves and measures, `cargo xtask simulate|model` checks without servers.

mod exec;
mod peers;
mod progress;
mod proof;
mod stack;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kafka, schema registry, PostgreSQL, MariaDB and MongoDB on this machine, without containers
    Stack(stack::cli::Args),
    /// Build everything, start the servers on clean data, run every test, stop them; ends with `N passed, M failed`
    Test(test::Args),
    /// Fetch data: `data baskets`
    Data(proof::Args),
    /// Sell real baskets on the real stack, then check log, stores and input against each other
    Sell(proof::Args),
    /// Break things on the real stack under load: `faults --list` says what
    Faults(proof::Args),
    /// Simulate all of it on one thread, from seeds: `simulate --seeds N`
    Simulate(proof::Args),
    /// Measure: `bench commands`, `bench replay`, `bench rebuild`, `bench restore`
    Bench(proof::Args),
    /// Check the term protocol exhaustively within larger bounds
    Model(proof::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Stack(args) => stack::cli::run(args).map(|()| ExitCode::SUCCESS),
        Command::Test(args) => test::run(&args),
        Command::Data(args) => proof::run("data", &args).map(|()| ExitCode::SUCCESS),
        Command::Sell(args) => proof::run("sell", &args).map(|()| ExitCode::SUCCESS),
        Command::Faults(args) => proof::run("faults", &args).map(|()| ExitCode::SUCCESS),
        Command::Simulate(args) => {
            proof::alone("lonja-simulation", "simulate", &["--features", "mutants"], &args).map(|()| ExitCode::SUCCESS)
        }
        Command::Bench(args) => proof::run("bench", &args).map(|()| ExitCode::SUCCESS),
        Command::Model(args) => proof::alone("lonja-model", "model", &[], &args).map(|()| ExitCode::SUCCESS),
    };
    // Not by returning the error: with backtraces switched on, as for tests, thirty lines of them would hide the message.
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
