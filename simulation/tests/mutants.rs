//! The simulation can fail: with any of fourteen rules switched off some seed notices, and the same seed notices nothing with all of
//! them on. One test, because a rule is switched off in the whole process.

use lonja_simulation::run_caught;

/// Each rule, and where the first seed that noticed was when this was written: the search begins there.
const RULES: &[(&str, u64)] = &[
    ("reader-term", 2),
    ("reader-sequence", 0),
    ("reader-claims", 2),
    ("confirm-order", 817),
    ("confirm-offset", 5),
    ("no-record", 0),
    ("repeat-waits", 0),
    ("no-dedup", 0),
    ("if-match", 0),
    ("checkpoint-cas", 11),
    ("checkpoint-identity", 42),
    ("checkpoint-base", 0),
    ("owner-look", 0),
    ("restore-to-claim", 6),
];
/// Whose absence nothing notices: the sequence number makes up for it (docs/simulation.md).
const SPARED: &str = "gapless";
/// Seeds that are tried for each.
const SEEDS_MAX: u64 = 3_000;

#[test]
fn each_rule_is_needed() {
    let named: Vec<_> = RULES.iter().map(|(name, _)| *name).chain([SPARED]).collect();
    assert_eq!(named, eventlog::fault::MUTANTS);
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
