//! Progress while searching, and tables at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lonja_model::properties::SAFETY;
use lonja_model::protocol::Protocol;
use lonja_model::rules::Rules;
use lonja_model::runs::{Removal, Search};
use lonja_model::state::Action;
use serde::Serialize;
use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, Model};

/// Says each second how far a search is.
#[derive(Default)]
pub struct Progress {
    elapsed: Duration,
}

impl Progress {
    /// How long the search took.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

impl Reporter<Protocol> for Progress {
    fn report_checking(&mut self, data: ReportData) {
        self.elapsed = data.duration;
        let ReportData { unique_states, max_depth, .. } = data;
        let seconds = data.duration.as_secs_f64();
        let rate = unique_states as f64 / seconds.max(0.001);
        eprintln!("  {unique_states} states, depth {max_depth}, {seconds:.0} s, {rate:.0} states/s");
    }

    fn report_discoveries(
        &mut self,
        _model: &Protocol,
        discoveries: BTreeMap<&'static str, ReportDiscovery<Protocol>>,
    ) {
        for (name, discovery) in discoveries.into_iter().filter(|(name, _)| SAFETY.contains(name)) {
            eprintln!("  VIOLATED {name}: {}", told(&discovery.path.into_actions()));
        }
    }
}

fn told(actions: &[Action]) -> String {
    actions.iter().map(Action::to_string).collect::<Vec<_>>().join("; ")
}

/// What came of it all.
#[derive(Serialize)]
pub struct Report {
    threads: usize,
    pub searched: Vec<Searched>,
    pub removed: Vec<Removed>,
}

/// What came of a search.
#[derive(Serialize)]
pub struct Searched {
    rules: String,
    faults: String,
    bounds: String,
    states: usize,
    depth: usize,
    seconds: f64,
    violated: Vec<&'static str>,
    /// What should be possible and was never seen: then the search says little.
    unseen: Vec<&'static str>,
}

impl Searched {
    pub fn of(search: &Search, checker: &impl Checker<Protocol>, elapsed: Duration) -> Self {
        let found = checker.discoveries();
        let names = checker.model().properties().into_iter().map(|property| property.name);
        let (always, sometimes): (Vec<_>, Vec<_>) = names.partition(|name| SAFETY.contains(name));
        Self {
            rules: checker.model().rules.to_string(),
            faults: search.faults.to_string(),
            bounds: search.bounds.to_string(),
            states: checker.unique_state_count(),
            depth: checker.max_depth(),
            seconds: elapsed.as_secs_f64(),
            violated: always.into_iter().filter(|name| found.contains_key(name)).collect(),
            unseen: sometimes.into_iter().filter(|name| !found.contains_key(name)).collect(),
        }
    }
}

/// What came of the protocol without a rule.
#[derive(Serialize)]
pub struct Removed {
    rule: String,
    faults: String,
    bounds: String,
    property: &'static str,
    /// A shortest way there.
    steps: Option<Vec<String>>,
}

impl Removed {
    /// One for each property that is said to break.
    pub fn of(removal: &Removal) -> Vec<Self> {
        let one = |property: &&'static str| Self {
            rule: removal.rule.to_string(),
            faults: removal.search.faults.to_string(),
            bounds: removal.search.bounds.to_string(),
            property,
            steps: removal.counterexample(property).map(|path| path.iter().map(Action::to_string).collect()),
        };
        removal.broken.iter().map(one).collect()
    }
}

impl Report {
    pub fn new(threads: usize) -> Self {
        Self { threads, searched: Vec::new(), removed: Vec::new() }
    }

    /// Nothing was violated, everything that should be possible was seen, and each removal broke what it was said to.
    pub fn is_as_it_should_be(&self) -> bool {
        let seen = |searched: &Searched| searched.unseen.is_empty() || searched.rules != Rules::ALL.to_string();
        let holds = self.searched.iter().all(|searched| searched.violated.is_empty() && seen(searched));
        holds && self.removed.iter().all(|removed| removed.steps.is_some())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} threads\n\n| rules | faults | bounds | states | depth | seconds | violations |",
            self.threads
        )?;
        writeln!(f, "|---|---|---|---:|---:|---:|---|")?;
        for Searched { rules, faults, bounds, states, depth, seconds, violated, unseen } in &self.searched {
            let violated = if violated.is_empty() { "none".to_owned() } else { violated.join(", ") };
            let unseen = if unseen.is_empty() { String::new() } else { format!("; never seen: {}", unseen.join(", ")) };
            writeln!(f, "| {rules} | {faults} | {bounds} | {states} | {depth} | {seconds:.1} | {violated}{unseen} |")?;
        }
        writeln!(f, "\n| removed rule | faults | breaks (steps) | a shortest way to the first |\n|---|---|---|---|")?;
        for removed in self.removed.chunk_by(|one, other| (&one.rule, &one.faults) == (&other.rule, &other.faults)) {
            let (broken, shortest) = broken(removed);
            writeln!(f, "| {} | {} | {broken} | {shortest} |", removed[0].rule, removed[0].faults)?;
        }
        Ok(())
    }
}

/// What is broken, each with the number of steps, and the way to the first.
fn broken(removed: &[Removed]) -> (String, String) {
    let short = |name: &str| name.split(' ').next().unwrap_or_default().to_owned();
    let told = |one: &Removed| match &one.steps {
        Some(steps) => format!("{} ({})", short(one.property), steps.len()),
        None => format!("{} NOT", short(one.property)),
    };
    let broken: Vec<_> = removed.iter().map(told).collect();
    let shortest = removed.first().and_then(|first| first.steps.as_ref());
    (broken.join(", "), shortest.map(|steps| steps.join("; ")).unwrap_or_default())
}
