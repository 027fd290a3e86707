//! `workload`: the proof tools. `cargo xtask data|sell|bench` build it in release and run it against the stack.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lonja_workload::{baskets, bench, faults, load, sell, verify};

/// As `lonja` has it, so that the ceiling is one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load, benches and checks for Lonja.
#[derive(Parser)]
#[command(name = "workload", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch data
    #[command(subcommand)]
    Data(Data),
    /// Send real baskets to the real stack, then check that log, stores and input say the same
    Sell(sell::Args),
    /// Send a mix of commands while others break things, and record a history
    Load(load::Args),
    /// Break things under load, and judge what came of it
    Faults(faults::Args),
    /// Judge a history against the log and the stores
    Verify(verify::Args),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Command),
    /// The bare server that `bench commands` takes for the ceiling
    #[command(hide = true)]
    Ceiling(bench::ceiling::Args),
    /// The bare server that shows what Kafka's transactions cost
    #[command(hide = true)]
    Transactions(bench::ceiling::Args),
    /// One measurement of `bench replay`
    #[command(hide = true)]
    ReplayOne(bench::replay::OneArgs),
}

#[derive(Subcommand)]
enum Data {
    /// 155,848 real baskets of a grocer, into the cache
    Baskets(baskets::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Data(Data::Baskets(args)) => baskets::run(&args),
        Command::Sell(args) => sell::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Faults(args) => faults::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Bench(command) => bench::run(&command),
        Command::ReplayOne(args) => bench::replay::run_one(&args),
        Command::Ceiling(args) => bench::ceiling::serve(&args),
        Command::Transactions(args) => bench::transactions::serve(&args),
    };
    result.map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}
