//! The whole of Lonja on one thread: the real router, lanes, owners, restores and projectors against a log that delays, loses,
//! repeats, reorders and truncates, on nodes that crash and disagree about who owns what. Everything (time, chance, order)
//! comes from one seed. After every step [`judge`] checks what has to be so always; in the end faults stop, and everybody has
//! to get an answer and every view has to be the fold of the log. See `docs/simulation.md`.

mod clients;
mod judge;
mod network;
mod node;
mod plan;
mod random;
mod shop;
mod trace;
mod views;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

/// How much time everybody has to come to rest once faults have ended, in simulated milliseconds.
const REST_MS: u64 = 120_000;

/// How long an owner may go on without noticing that the log lost something, and more.
const OWNERS_NOTICE_WITHIN_MS: u64 = 4_000;

/// How long a projector may pause after an error, and more.
const VIEWS_NOTICE_WITHIN_MS: u64 = 12_000;

/// What one seed came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which seed.
    pub seed: u64,
    /// Of everything that happened, in its order.
    pub hash: u64,
    /// How many things happened.
    pub steps: u64,
    /// Records that were replicated.
    pub records: u64,
    /// Records that views had from owners of their process, without fetching them.
    pub told: u64,
    /// Simulated time, in milliseconds.
    pub ms: u64,
    /// What was not as it has to be, if anything.
    pub violation: Option<String>,
    /// The latest of what happened, if asked for.
    pub notes: Vec<String>,
}

/// Simulates one seed. `verbose` keeps notes.
///
/// # Panics
/// When the runtime cannot be made.
#[must_use]
pub fn run(seed: u64, verbose: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O can be made");
    runtime.block_on(async {
        let mut world = World::new(seed, verbose);
        let mut violation = drive(&mut world).await.err();
        if let Some(what) = &mut violation {
            what.insert_str(0, &format!("at step {}: ", world.trace.steps));
        }
        Outcome {
            seed,
            hash: world.trace.hash(),
            steps: world.trace.steps,
            records: world.trace.records,
            told: world.told(),
            ms: world.ms(),
            violation,
            notes: world.trace.notes.take().unwrap_or_default(),
        }
    })
}

/// The same, where also a panic is a violation.
#[must_use]
pub fn run_caught(seed: u64, verbose: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed, verbose))).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let violation = Some(format!("panicked: {}", what.unwrap_or_default()));
        Outcome { seed, hash: 0, steps: 0, records: 0, told: 0, ms: 0, violation, notes: Vec::new() }
    })
}

async fn drive(world: &mut World) -> Result<(), String> {
    for _ in 0..world.plan.steps {
        world.trace.steps += 1;
        world.step().await?;
    }
    world.heal();
    notice(world, OWNERS_NOTICE_WITHIN_MS).await?;
    world.judge.nobody_is_deceived();
    rest(world, false).await?;
    // A repeat gets the first answer.
    rest(world, true).await?;
    rest_views(world).await
}

/// Time in which everybody can notice that the log lost something, if it did.
async fn notice(world: &mut World, ms: u64) -> Result<(), String> {
    let steps = if world.lost.is_empty() { 0 } else { ms / 200 };
    for _ in 0..steps {
        world.pass(200).await;
        world.calm_step().await?;
    }
    Ok(())
}

/// Until every command has an answer; with `again`, until each has been asked once more.
async fn rest(world: &mut World, again: bool) -> Result<(), String> {
    let begin = world.ms();
    world.ask_for_all(again);
    while !world.clients.all_quiet() {
        if world.ms() - begin > REST_MS {
            return Err("a command has no answer though nothing is wrong any more".to_owned());
        }
        world.trace.steps += 1;
        world.calm_step().await?;
        world.ask_for_all(false);
    }
    Ok(())
}

/// Until every view is at the end of the log, or has stopped where it may. Then each is what the log says.
async fn rest_views(world: &mut World) -> Result<(), String> {
    // A projector that pauses after an error of its store notices only then.
    notice(world, VIEWS_NOTICE_WITHIN_MS).await?;
    for rebuilt in [false, true] {
        let begin = world.ms();
        while !world.views_are_at_the_end() {
            if world.ms() - begin > REST_MS {
                return Err("a view does not come to the end of the log".to_owned());
            }
            world.trace.steps += 1;
            world.calm_step().await?;
        }
        for view in 0..world.views.len() {
            if world.views[view].stopped().is_none() {
                world.views[view].check(&world.judge)?;
            } else if rebuilt {
                return Err("a view that was rebuilt has stopped".to_owned());
            } else {
                world.rebuild(view);
            }
        }
    }
    Ok(())
}
