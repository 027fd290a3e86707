//! `simulate`: many seeds, one after the other on each core. `cargo xtask simulate` builds it in release and runs it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use eventlog::fault::{MUTANTS, set_mutant};
use indicatif::{ProgressBar, ProgressStyle};
use lonja_simulation::{Outcome, run_caught};
use parking_lot::Mutex;
use serde::Serialize;

/// How many violations are shown in full.
const SHOWN: usize = 5;

/// Simulate everything at once, with all time, chance and order from a seed
#[derive(Parser)]
#[command(name = "simulate", version)]
struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Switch a rule off: then it fails unless some seed notices, and ends with the first that does
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(MUTANTS.iter().copied()))]
    mutant: Option<String>,
    /// Tell what happened, and show the log's lines of `RUST_LOG`; for a single seed
    #[arg(long)]
    verbose: bool,
    /// Write the figures here
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    from: u64,
    seeds: u64,
    mutant: Option<String>,
    seconds: f64,
    steps: u64,
    records: u64,
    told: u64,
    simulated_seconds: u64,
    violations: Vec<Violation>,
}

#[derive(Serialize)]
struct Violation {
    seed: u64,
    what: String,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    set_mutant(args.mutant.as_deref());
    if args.verbose {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    }
    let report = simulate(args)?;
    println!(
        "{} seeds from {} in {:.1} s: {} steps, {} records, {} of them told to views, {} simulated seconds, {} violations",
        report.seeds,
        report.from,
        report.seconds,
        report.steps,
        report.records,
        report.told,
        report.simulated_seconds,
        report.violations.len()
    );
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    match (&args.mutant, report.violations.len()) {
        (None, 0) => Ok(()),
        (None, violations) => bail!("{violations} seeds found a violation"),
        (Some(mutant), 0) => bail!("no seed noticed {mutant}"),
        (Some(_), _) => Ok(()),
    }
}

/// Runs the seeds on all cores.
fn simulate(args: &Args) -> Result<Report> {
    let progress = ProgressBar::new(args.seeds);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}").context("progress bar")?);
    let (next, done) = (AtomicU64::new(args.from), AtomicBool::new(false));
    let outcomes = Mutex::new(Vec::new());
    let begin = Instant::now();
    let work = || {
        while !done.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= args.from + args.seeds {
                return;
            }
            let outcome = run_caught(seed, args.verbose);
            progress.inc(1);
            if let Some(what) = &outcome.violation {
                progress.suspend(|| show(args, &outcome, what, outcomes.lock().len()));
                done.store(args.mutant.is_some(), Ordering::Relaxed);
            }
            outcomes.lock().push(Outcome { notes: Vec::new(), ..outcome });
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    progress.finish_and_clear();
    let mut outcomes = outcomes.into_inner();
    outcomes.sort_by_key(|outcome| outcome.seed);
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum();
    Ok(Report {
        from: args.from,
        seeds: outcomes.len() as u64,
        mutant: args.mutant.clone(),
        seconds: begin.elapsed().as_secs_f64(),
        steps: sum(|outcome| outcome.steps),
        records: sum(|outcome| outcome.records),
        told: sum(|outcome| outcome.told),
        simulated_seconds: sum(|outcome| outcome.ms) / 1_000,
        violations: outcomes
            .iter()
            .filter_map(|outcome| Some(Violation { seed: outcome.seed, what: outcome.violation.clone()? }))
            .collect(),
    })
}

fn show(args: &Args, outcome: &Outcome, what: &str, before: usize) {
    outcome.notes.iter().for_each(|note| println!("{note}"));
    println!("seed {} {what}", outcome.seed);
    if before < SHOWN {
        let mutant = args.mutant.as_ref().map(|mutant| format!(" --mutant {mutant}")).unwrap_or_default();
        println!("  again: cargo xtask simulate --seeds 1 --from {}{mutant} --verbose", outcome.seed);
    }
}
