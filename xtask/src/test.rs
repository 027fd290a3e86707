//! `cargo xtask test`: every test of the workspace against real servers, in one go.
//!
//! Building and the start of the servers overlap, because each takes a while and neither needs the other. The run fails when
//! a test fails, and also when a server dies under it: a test that passes against a dead server proves nothing. The last line
//! is `N passed, M failed`; what went wrong outside a test counts as one failure, so that no broken run ends in "0 failed".

mod job;
mod steps;
mod totals;

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use self::steps::Step;
use self::totals::Totals;
use crate::progress::Progress;
use crate::stack::{Instance, Urls, lock};

/// Ctrl-C, or a request to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

#[derive(clap::Args)]
pub struct Args {
    /// For `cargo test`: -- -p lonja-domain -- name_of_a_test
    #[arg(last = true)]
    cargo: Vec<String>,
}

/// Runs the tests and says by its code whether all is well.
pub fn run(args: &Args) -> Result<ExitCode> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)).context("listening for Ctrl-C")?;
    // The instance is wiped at the start: a second run would pull it from under the first.
    let _only_one = lock("test-run")?;
    let instance = Instance::load("test")?;
    let mut totals = Totals::default();
    let mut problems = Vec::new();
    if let Err(error) = run_in(&instance, args, &mut totals) {
        problems.push(format!("{error:#}"));
    }
    if let Err(error) = instance.down() {
        problems.push(format!("stopping the servers: {error:#}"));
    }
    if problems.is_empty() && totals.ran() == 0 {
        problems.push("no test ran".to_owned());
    }
    Ok(conclude(totals, &problems))
}

fn run_in(instance: &Instance, args: &Args, totals: &mut Totals) -> Result<()> {
    let urls = build_and_start(instance, args)?;
    let healthy = || {
        not_interrupted()?;
        everything_lives(instance)
    };
    let mut failures = Vec::new();
    for step in steps::tests(&args.cargo) {
        let mut command = step.command();
        command.env("LONJA_STACK", "1").envs(urls.variables());
        let before = totals.failed;
        let passed = job::run(&mut command, |line| totals.read(line), &healthy).with_context(|| step.name.clone())?;
        // Failed tests have been counted and named; anything else that went wrong has not.
        if !passed && totals.failed == before {
            failures.push(format!("{} failed, but no test did: does it compile, did a test crash?", step.name));
        }
    }
    // A server may have died in the last moments, after the last look.
    everything_lives(instance)?;
    ensure!(failures.is_empty(), failures.join("\n"));
    Ok(())
}

/// Installs and starts the servers while the workspace is built.
fn build_and_start(instance: &Instance, args: &Args) -> Result<Urls> {
    let stack_failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let stack = scope.spawn(|| {
            let urls = instance.reset().and_then(|()| instance.up_with(&Progress::plain()));
            stack_failed.store(urls.is_err(), Ordering::Relaxed);
            urls
        });
        let wanted = || {
            not_interrupted()?;
            ensure!(!stack_failed.load(Ordering::Relaxed), "not needed any more: the servers did not start");
            Ok(())
        };
        let built = steps::builds(&args.cargo).iter().try_for_each(|step| build(step, &wanted));
        let urls = stack.join().unwrap_or_else(|_| bail!("the thread that starts the servers panicked"))?;
        built.map(|()| urls)
    })
}

fn build(step: &Step, wanted: &dyn Fn() -> Result<()>) -> Result<()> {
    let built = job::run(&mut step.command(), |_| (), wanted).with_context(|| step.name.clone())?;
    ensure!(built, "{} failed", step.name);
    Ok(())
}

fn not_interrupted() -> Result<()> {
    ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}

/// Tests that kill servers do so with instances of their own, so whoever is missing here died by itself.
fn everything_lives(instance: &Instance) -> Result<()> {
    match instance.servers.iter().find(|server| server.pid().is_none()) {
        None => Ok(()),
        // The verdict last, where people look.
        Some(server) => {
            let (name, log) = (&server.name, server.log());
            bail!("{}\n\n{name} died during the tests; above is the end of {}", server.tail(), log.display())
        }
    }
}

fn conclude(mut totals: Totals, problems: &[String]) -> ExitCode {
    for problem in problems {
        eprintln!("\nerror: {problem}");
    }
    totals.failed += problems.len() as u64;
    println!("\n{totals}");
    let _ = std::io::stdout().flush();
    if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
