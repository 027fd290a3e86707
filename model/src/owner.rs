//! What one node believes, and does: `commands/src/owner.rs` and `restore.rs` in the small.

use eventlog::Terms;
use eventlog::term::Verdict;

use crate::log::{Decision, Memory, Outcome, Reading, Record, Term, judge};
use crate::rules::{Rule, Rules};

/// A node that claimed and has not stepped down. It is known by its term.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// Its claim is on its way, or in the log and not yet acknowledged.
    Claiming {
        /// What it claims.
        term: Term,
        /// The log's end when it claimed; kept only where restore stops there, and 0 otherwise.
        end: u8,
    },
    /// It believes that it owns the partition.
    Leading(Lead),
}

/// A term as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lead {
    /// Its claim.
    pub term: Term,
    /// The offset at which its oldest outstanding record stands if nobody else wrote.
    pub expected: u8,
    /// Number of the latest record handed to the log.
    pub sequence: u8,
    /// The fold of everything confirmed.
    pub confirmed: Memory,
    /// Handed to the log and not confirmed, oldest first.
    pub pending: Vec<Record>,
}

/// What an owner makes of a command.
pub enum Handled {
    /// It answers at once.
    Answered(Outcome),
    /// It hands a record to the log.
    Appended(Record),
    /// The answer comes with that of an earlier attempt.
    Waits,
}

impl Owner {
    /// Its term.
    #[must_use]
    pub fn term(&self) -> Term {
        match self {
            Self::Claiming { term, .. } | Self::Leading(Lead { term, .. }) => *term,
        }
    }
}

impl Lead {
    /// A term at its beginning.
    #[must_use]
    pub fn new(term: Term, expected: u8, confirmed: Memory) -> Self {
        Self { term, expected, sequence: 0, confirmed, pending: Vec::new() }
    }

    /// The claim is acknowledged at `offset`: restores, and returns nothing if the claim does not count.
    #[must_use]
    pub fn start(rules: Rules, term: Term, end: u8, log: &[Record], offset: u8) -> Option<Self> {
        let restored = Reading::of(rules, &log[..=usize::from(offset)]);
        let valid = restored.terms.current == Some(term.into()) && restored.terms.sequence == 0;
        if rules.has(Rule::ValidClaim) && !valid {
            return None;
        }
        let all = rules.has(Rule::RestoreUpToClaim);
        let known = if all { restored } else { Reading::of(rules, &log[..usize::from(end)]) };
        Some(Self::new(term, offset + 1, known.memory))
    }

    fn pending(&self) -> impl Iterator<Item = Decision> {
        self.pending.iter().filter_map(|record| record.decision)
    }

    /// A command arrives.
    pub fn handle(&mut self, rules: Rules, command: u8) -> Handled {
        if rules.has(Rule::CommandIds) {
            if let Some(original) = self.pending().find(|decision| decision.command == command) {
                return if rules.has(Rule::RepeatWaits) { Handled::Waits } else { Handled::Answered(original.outcome) };
            }
            if let Some(outcome) = self.confirmed.outcomes[usize::from(command)] {
                return Handled::Answered(outcome);
            }
        }
        let mut tentative = self.confirmed;
        if rules.has(Rule::TentativeState) {
            self.pending().for_each(|decision| tentative.fold(decision));
        }
        let basis = tentative.basis;
        let outcome = basis.decide(command);
        if !rules.has(Rule::NoIsARecord) && !matches!(outcome, Outcome::Accepted(_)) {
            return Handled::Answered(outcome);
        }
        self.sequence += 1;
        let decision = Some(Decision { command, outcome, basis });
        let record = Record { term: self.term, sequence: self.sequence, decision };
        self.pending.push(record);
        Handled::Appended(record)
    }

    /// The record at `offset` is ours, and is reported. Returns the decision that is confirmed by it; none if the owner has
    /// to step down.
    pub fn confirm(&mut self, rules: Rules, log: &[Record], offset: u8) -> Option<Decision> {
        let record = log[usize::from(offset)];
        let at = self.pending.iter().position(|pending| *pending == record)?;
        if rules.has(Rule::OldestOutstanding) && at != 0 {
            return None;
        }
        if offset != self.expected && rules.has(Rule::ExpectedOffset) {
            let higher = offset > self.expected;
            if !higher || !rules.has(Rule::CatchUp) || !self.counts(rules, log, offset) {
                return None;
            }
        }
        let decision = self.pending.remove(at).decision?;
        self.confirmed.fold(decision);
        self.expected = offset + 1;
        Some(decision)
    }

    /// Reads on from what is confirmed to the record at `offset`: whether it counts.
    fn counts(&self, rules: Rules, log: &[Record], offset: u8) -> bool {
        let (from, to) = (usize::from(self.expected), usize::from(offset));
        let confirmed = self.pending[0].sequence - 1;
        let mut terms = Terms { current: Some(self.term.into()), sequence: confirmed.into() };
        let before = log[from..to].iter().all(|record| judge(rules, &mut terms, record) != Verdict::Valid);
        before && judge(rules, &mut terms, &log[to]) == Verdict::Valid
    }
}
