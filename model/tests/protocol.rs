//! The protocol holds, and each of its rules is needed.

use std::time::Instant;

use lonja_model::protocol::Protocol;
use lonja_model::rules::{Rule, Rules};
use lonja_model::runs::{QUICK, REMOVALS, Removal, SPARED};
use lonja_model::state::{Action, State};
use stateright::{Checker, Model, Path};

/// States of each of [`QUICK`]: a model that looks at fewer, or at others, is another model.
const STATES: [usize; QUICK.len()] = [603_135, 1_997_666, 5_088_689, 3_637_861, 444_715];

#[test]
fn the_protocol_holds_in_everything_within_bounds() {
    let mut counted = Vec::new();
    for search in &QUICK {
        let begin = Instant::now();
        let checker = search.model(Rules::ALL).checker().threads(2).spawn_dfs().join();
        let states = checker.unique_state_count();
        println!("{}; {}: {states} states, {:.1?}", search.faults, search.bounds, begin.elapsed());
        // Also that what should be possible was seen.
        checker.assert_properties();
        counted.push(states);
    }
    assert_eq!(counted, STATES);
}

#[test]
fn without_any_of_its_rules_it_breaks() {
    for removal in &REMOVALS {
        for property in removal.broken {
            breaks(removal, property);
        }
    }
}

/// Looks for a counterexample, and walks it once more: all is well until its last step.
fn breaks(removal: &Removal, property: &'static str) {
    let Some(actions) = removal.counterexample(property) else {
        panic!("without \"{}\" nothing breaks \"{property}\"", removal.rule);
    };
    let steps: Vec<String> = actions.iter().map(ToString::to_string).collect();
    println!("without \"{}\", {}: {property}: {}", removal.rule, removal.search.faults, steps.join("; "));
    let model = removal.search.model(Rules::without(removal.rule));
    let states = walk(&model, &actions).into_states();
    let holds = model.property(property).condition;
    let broken = states.iter().position(|state| !holds(&model, state));
    assert_eq!(broken, Some(states.len() - 1), "{property}: {steps:?}");
}

fn walk(model: &Protocol, actions: &[Action]) -> Path<State, Action> {
    let start = model.init_states().remove(0);
    Path::from_actions(model, start, actions).expect("the checker's path can be walked")
}

#[test]
fn every_rule_is_accounted_for() {
    for rule in Rule::ALL {
        let needed = REMOVALS.iter().any(|removal| removal.rule == rule && !removal.broken.is_empty());
        assert_ne!(needed, SPARED.contains(&rule), "{rule}");
    }
}
