//! `lonja`: one binary; the subcommand is the role.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use lonja::cli::steps::{Check, Step};
use lonja::cli::{Cli, Command};
use lonja::roles::Parts;
use lonja::{audit, config_check, export, log_verbs, owners, parked, replay, serve, status, steps};

/// Every request allocates on one thread and frees on another, which the system's allocator does slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut definition = Cli::command();
    let matches = definition.get_matches_mut();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let done = match &cli.command {
        Command::Serve(config) => serve::run("serve", &Parts::all(config), &cli.telemetry),
        Command::Gateway(args) => serve::run("gateway", &Parts::gateway(args), &cli.telemetry),
        Command::Commands(args) => serve::run("commands", &Parts::commands(args), &cli.telemetry),
        Command::Projections(args) => serve::run("projections", &Parts::projections(args), &cli.telemetry),
        Command::Owners(args) => owners::run(args),
        Command::Status(args) => status::run(args),
        Command::Log { look } => log_verbs::run(look),
        Command::Audit(args) => audit::run(args),
        Command::Parked { verb } => parked::run(verb),
        Command::Replay { verb } => replay::run(verb),
        Command::Export(args) => export::run(args, &cli.telemetry),
        Command::Config { check: Check::Check(config) } => config_check::run(&definition, &matches, config),
        Command::Topics { step: Step::Apply(args) } => steps::topics_apply(args),
        Command::Topics { step: Step::Check(args) } => steps::topics_check(args),
        Command::Schemas { step: Step::Apply(args) } => steps::schemas_apply(args),
        Command::Schemas { step: Step::Check(args) } => steps::schemas_check(args),
        Command::Views { step: Step::Apply(args) } => steps::views_apply(args),
        Command::Views { step: Step::Check(args) } => steps::views_check(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lonja: {failure:#}");
            failure.exit_code()
        }
    }
}
