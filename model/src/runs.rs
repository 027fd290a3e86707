//! What is searched: the protocol under faults, and the protocol without one of its rules.

use std::fmt;

use stateright::{Checker, Model};

use crate::properties::{S1, S2, S3, S4, S4B, S5, S6};
use crate::protocol::{Bounds, Protocol};
use crate::rules::{Rule, Rules};
use crate::state::{Action, Faults};

/// A search through everything within bounds.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// What goes wrong.
    pub faults: Faults,
    /// How far it goes.
    pub bounds: Bounds,
}

/// A rule, and what comes of the protocol without it.
#[derive(Debug, Clone, Copy)]
pub struct Removal {
    /// The rule that does not hold.
    pub rule: Rule,
    /// Where to look.
    pub search: Search,
    /// The properties that break there, the most telling one first.
    pub broken: &'static [&'static str],
}

const fn bounds(claims: u8, attempts: u8, records: u8, log: u8) -> Bounds {
    Bounds { claims, attempts, records, log }
}

const NONE: Faults = Faults { holes: 0, copies: 0, reordering: false };
const HOLE: Faults = Faults { holes: 1, ..NONE };
const COPY: Faults = Faults { copies: 1, ..NONE };
const HOLE_AND_COPY: Faults = Faults { holes: 1, copies: 1, reordering: false };

const fn search(faults: Faults, bounds: Bounds) -> Search {
    Search { faults, bounds }
}

/// For every test run.
pub const QUICK: [Search; 5] = [
    search(NONE, bounds(3, 4, 3, 7)),
    search(NONE, bounds(4, 3, 3, 6)),
    search(COPY, bounds(4, 2, 2, 6)),
    search(HOLE_AND_COPY, bounds(3, 3, 3, 6)),
    search(Faults { holes: 2, copies: 0, reordering: true }, bounds(3, 3, 3, 6)),
];

/// For `cargo xtask model --bounds large`.
pub const LARGE: [Search; 7] = [
    search(NONE, bounds(3, 5, 4, 8)),
    search(NONE, bounds(4, 4, 3, 7)),
    search(COPY, bounds(4, 2, 2, 7)),
    search(Faults { copies: 2, ..NONE }, bounds(3, 3, 3, 6)),
    search(HOLE_AND_COPY, bounds(3, 3, 3, 7)),
    search(HOLE_AND_COPY, bounds(3, 4, 3, 7)),
    search(Faults { holes: 2, copies: 2, reordering: true }, bounds(3, 3, 3, 6)),
];

const TWO_CLAIMS: Bounds = bounds(2, 2, 2, 5);
const THREE_ATTEMPTS: Bounds = bounds(2, 3, 3, 6);
const THREE_CLAIMS: Bounds = bounds(3, 2, 2, 6);

/// Every rule that is needed, once for each kind of fault against which it is.
pub const REMOVALS: [Removal; 13] = [
    remove(Rule::ReaderComparesTerm, NONE, THREE_CLAIMS, &[S2, S3, S1, S6]),
    remove(Rule::ReaderComparesSequence, HOLE, TWO_CLAIMS, &[S3]),
    remove(Rule::ReaderComparesSequence, COPY, TWO_CLAIMS, &[S2, S3, S1, S6]),
    remove(Rule::ClaimsOnlyRise, COPY, TWO_CLAIMS, &[S2, S3, S1, S6]),
    remove(Rule::ExpectedOffset, NONE, THREE_ATTEMPTS, &[S1, S4, S4B, S5, S6]),
    remove(Rule::OldestOutstanding, HOLE, TWO_CLAIMS, &[S1, S4, S6]),
    remove(Rule::NoIsARecord, NONE, TWO_CLAIMS, &[S4, S4B, S5, S6]),
    remove(Rule::RepeatWaits, NONE, THREE_ATTEMPTS, &[S1, S4, S4B, S5, S6]),
    remove(Rule::CommandIds, NONE, TWO_CLAIMS, &[S2, S1, S4B, S5, S6]),
    remove(Rule::TentativeState, NONE, TWO_CLAIMS, &[S3, S4]),
    remove(Rule::RestoreUpToClaim, NONE, THREE_ATTEMPTS, &[S2, S3, S1, S4, S4B, S5, S6]),
    remove(Rule::RestoreWaits, NONE, THREE_ATTEMPTS, &[S2, S3, S1, S4, S4B, S5, S6]),
    remove(Rule::ValidClaim, NONE, THREE_ATTEMPTS, &[S1, S4, S4B, S5, S6]),
];

/// Rules whose removal breaks nothing in this model. Numbers of valid claims are unique here, so that the nonce adds
/// nothing: it is for a log that lost its tail and gave the same numbers again. Catching up spares needless ends of terms.
pub const SPARED: [Rule; 2] = [Rule::ReaderComparesNonce, Rule::CatchUp];

/// Where [`SPARED`] rules are removed.
pub const WITHOUT_SPARED: Search = search(HOLE_AND_COPY, bounds(3, 3, 3, 6));

const fn remove(rule: Rule, faults: Faults, bounds: Bounds, broken: &'static [&'static str]) -> Removal {
    Removal { rule, search: search(faults, bounds), broken }
}

impl Search {
    /// The model of it.
    #[must_use]
    pub fn model(&self, rules: Rules) -> Protocol {
        Protocol { bounds: self.bounds, faults: self.faults, rules, only: None }
    }
}

impl Removal {
    /// The shortest way to break `property`.
    #[must_use]
    pub fn counterexample(&self, property: &'static str) -> Option<Vec<Action>> {
        let model = Protocol { only: Some(property), ..self.search.model(Rules::without(self.rule)) };
        // Breadth first, on one thread, for one property: the first found is a shortest one, and ends the search.
        let checker = model.checker().spawn_bfs().join();
        checker.discovery(property).map(stateright::Path::into_actions)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claims, attempts, records, log } = self;
        write!(f, "{claims} claims, {attempts} attempts, {records} records a term, log {log}")
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count, one: &str, more: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {more}")),
        };
        let all = [
            counted(self.holes, "hole", "holes"),
            counted(self.copies, "late copy", "late copies"),
            self.reordering.then(|| "reordering".to_owned()),
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        f.write_str(if all.is_empty() { "none" } else { "" })?;
        f.write_str(&all.join(" + "))
    }
}
