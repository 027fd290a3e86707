//! The simulation can fail: with any of fifteen rules switched off some seed notices, and the same seed notices nothing with all of
//! them on. One test, because a rule is switched off in the whole process.

use std::collections::BTreeSet;

use lonja_simulation::run_caught;

/// Each rule, and where the first seed that noticed was when this was written: the search begins there.
const RULES: &[(&str, u64)] = &[
    ("reader-term", 6),
    ("reader-sequence", 2),
    ("reader-claims", 2),
    ("confirm-order", 564),
    ("confirm-offset", 6),
    ("no-record", 0),
    ("repeat-waits", 1),
    ("no-dedup", 0),
    ("if-match", 0),
    ("checkpoint-cas", 8),
    ("checkpoint-identity", 13),
    ("owner-look", 47),
    ("told-identity", 349),
    ("told-end", 2148),
    ("restore-to-claim", 9),
];
/// Whose absence no seed notices (docs/simulation.md): what the first is for is a test of `commands`, the second is a rule of
/// Kafka's appender, which is not simulated (the fault row `no-gapless` notices it), and there are no replays: `tests/process` notices the last.
const SPARED: [&str; 3] = ["checkpoint-base", "gapless", "whole-fold"];
/// Seeds that are tried for each.
const SEEDS_MAX: u64 = 3_000;

#[test]
fn each_rule_is_needed() {
    let named: BTreeSet<_> = RULES.iter().map(|(name, _)| *name).chain(SPARED).collect();
    assert_eq!(named, eventlog::fault::MUTANTS.iter().copied().collect());
    for &(name, from) in RULES {
        eventlog::fault::set_mutant(Some(name));
        let mut seeds = from..from + SEEDS_MAX;
        let noticed = seeds.find_map(|seed| Some((seed, run_caught(seed, false).violation?)));
        eventlog::fault::set_mutant(None);
        let Some((seed, what)) = noticed else { panic!("no seed notices that {name} is off") };
        println!("{name}: seed {seed} {what}");
        assert_eq!(run_caught(seed, false).violation, None, "{name}: seed {seed} with all rules on");
    }
}
