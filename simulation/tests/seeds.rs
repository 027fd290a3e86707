//! The seeds of every test run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lonja_simulation::{run, run_caught};

const SEEDS: u64 = 500;

#[test]
fn no_seed_finds_a_violation() {
    let (next, found) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return;
            }
            let outcome = run_caught(seed, false);
            assert!(outcome.violation.is_some() || outcome.records > 0, "seed {seed} did nothing");
            if let Some(what) = outcome.violation {
                let again = format!("cargo xtask simulate --seeds 1 --from {seed} --verbose");
                found.lock().unwrap().push(format!("seed {seed} {what}; again: {again}"));
            }
        }
    };
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_seed_is_one_story() {
    let stories = [7, 8, 9].map(|seed| (run(seed, false), run(seed, true)));
    for (first, again) in &stories {
        assert_eq!((first.hash, first.steps, first.records), (again.hash, again.steps, again.records));
    }
    assert_ne!(stories[0].0.hash, stories[1].0.hash);
    assert_ne!(stories[1].0.hash, stories[2].0.hash);
}
