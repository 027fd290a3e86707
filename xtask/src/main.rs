//! The project's own commands: `cargo xtask stack …` runs the real servers, `cargo xtask test` runs every test against them.

mod exec;
mod progress;
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
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Stack(args) => stack::cli::run(args).map(|()| ExitCode::SUCCESS),
        Command::Test(args) => test::run(&args),
    };
    // Not by returning the error: with backtraces switched on, as for tests, thirty lines of them would hide the message.
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
