//! `model`: searches larger bounds than the tests, and prints what came of it. `cargo xtask model` builds it in release.

mod report;

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use lonja_model::rules::Rules;
use lonja_model::runs::{LARGE, QUICK, REMOVALS, SPARED, Search, WITHOUT_SPARED};
use stateright::{Checker, Model};

use crate::report::{Progress, Removed, Report, Searched};

/// Checks the term protocol exhaustively within bounds, and shows what each of its rules is for.
#[derive(Parser)]
#[command(name = "model", version)]
struct Cli {
    /// How far to search
    #[arg(long, value_enum, default_value_t = Size::Quick)]
    bounds: Size,
    /// Write the figures there, too
    #[arg(long)]
    json: Option<PathBuf>,
    /// Threads that search; as many as there are cores if not given
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Serve stateright's Explorer at this address instead, for looking around in the first of the bounds
    #[arg(long, value_name = "HOST:PORT")]
    explore: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Size {
    /// As the tests do: half a minute
    Quick,
    /// Some minutes, some gigabytes of memory
    Large,
}

impl Size {
    fn searches(self) -> &'static [Search] {
        match self {
            Self::Quick => &QUICK,
            Self::Large => &LARGE,
        }
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was as it should be.
fn run(cli: &Cli) -> Result<bool> {
    let searches = cli.bounds.searches();
    if let Some(address) = &cli.explore {
        searches[0].model(Rules::ALL).checker().serve(address.as_str());
        return Ok(true);
    }
    let threads = match cli.threads {
        Some(threads) => threads,
        None => available_parallelism().context("asking for the number of cores")?,
    };
    let mut report = Report::new(threads.get());
    for search in searches {
        report.searched.push(carry_out(search, Rules::ALL, threads.get()));
    }
    for rule in SPARED {
        report.searched.push(carry_out(&WITHOUT_SPARED, Rules::without(rule), threads.get()));
    }
    for removal in &REMOVALS {
        eprintln!("without \"{}\"", removal.rule);
        report.removed.extend(Removed::of(removal));
    }
    println!("{report}");
    if let Some(path) = &cli.json {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        serde_json::to_writer_pretty(file, &report).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report.is_as_it_should_be())
}

fn carry_out(search: &Search, rules: Rules, threads: usize) -> Searched {
    eprintln!("{rules}; faults: {}; {}", search.faults, search.bounds);
    let mut progress = Progress::default();
    // Depth first: it needs no memory for what is yet to be looked at.
    let checker = search.model(rules).checker().threads(threads).spawn_dfs().join_and_report(&mut progress);
    Searched::of(search, &checker, progress.elapsed())
}
