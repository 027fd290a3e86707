//! Records, and what a reader makes of them.

use std::fmt;

use domain::{Decider, Timestamp};
use eventlog::Terms;
use eventlog::term::{Mark, Verdict};

use crate::rules::{Rule, Rules};
use crate::shelf::{Happened, Shelf, Wish};

/// What the commands want, by number. The third is another customer after the same unit.
pub const COMMANDS: [Wish; 3] = [Wish::Reserve, Wish::Restock, Wish::Reserve];

/// Names a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    /// One higher than the latest that the claimant read.
    pub number: u8,
    /// Another one for each claim.
    pub nonce: u8,
}

impl From<Term> for schemas::Term {
    fn from(term: Term) -> Self {
        Self { number: term.number.into(), nonce: term.nonce.into() }
    }
}

/// What an owner decided, without the particulars of the wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Yes.
    Accepted(Happened),
    /// No.
    Refused,
    /// It is so already.
    Unchanged,
}

/// A set of outcomes of one command. Its event is known from the wish, so that only the kind matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Outcomes(u8);

impl Outcomes {
    fn bit(outcome: Outcome) -> u8 {
        match outcome {
            Outcome::Accepted(_) => 1,
            Outcome::Refused => 2,
            Outcome::Unchanged => 4,
        }
    }

    /// Puts `outcome` in.
    pub fn insert(&mut self, outcome: Outcome) {
        self.0 |= Self::bit(outcome);
    }

    /// Whether `outcome` is in it.
    #[must_use]
    pub fn contains(self, outcome: Outcome) -> bool {
        self.0 & Self::bit(outcome) != 0
    }

    /// Whether it has a "yes".
    #[must_use]
    pub fn has_yes(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether it has anything but a "yes".
    #[must_use]
    pub fn has_no(self) -> bool {
        self.0 & 6 != 0
    }

    /// How many are in it.
    #[must_use]
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The state that decisions are made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Basis {
    shelf: Shelf,
    /// How many events made it.
    version: u8,
}

impl Basis {
    /// What `commands::decide` makes of the decider's answer.
    #[must_use]
    pub fn decide(&self, command: u8) -> Outcome {
        match self.shelf.decide(&COMMANDS[usize::from(command)], Timestamp::default()) {
            Ok(Some(event)) => Outcome::Accepted(event),
            Ok(None) => Outcome::Unchanged,
            Err(_) => Outcome::Refused,
        }
    }

    fn fold(&mut self, outcome: Outcome) {
        if let Outcome::Accepted(event) = outcome {
            *self = Self { shelf: self.shelf.evolve(&event), version: self.version + 1 };
        }
    }
}

/// A decision in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Decision {
    /// Number of the command.
    pub command: u8,
    /// What was decided.
    pub outcome: Outcome,
    /// The state that it was decided on: no reader sees it, the properties do.
    pub basis: Basis,
}

/// A record, on its way or in the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// The term that it opens, or under which it was decided.
    pub term: Term,
    /// Its number in the term, 0 for the claim.
    pub sequence: u8,
    /// Nothing for the claim.
    pub decision: Option<Decision>,
}

impl fmt::Display for Record {
    /// `C2` is the claim of the term with the second nonce, `t2#1` its first record; a tied number is said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Term { number, nonce } = self.term;
        let Some(decision) = self.decision else {
            return if number == nonce { write!(f, "C{nonce}") } else { write!(f, "C{nonce}(number {number})") };
        };
        let what = match decision.outcome {
            Outcome::Accepted(Happened::Reserved) => "reserved",
            Outcome::Accepted(Happened::Restocked) => "restocked",
            Outcome::Refused => "refused",
            Outcome::Unchanged => "unchanged",
        };
        write!(f, "t{nonce}#{}:{what}(c{})", self.sequence, decision.command)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a fold of the log knows: what owners decide on, and the outcomes by command id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Memory {
    /// The state.
    pub basis: Basis,
    /// The outcome of each command.
    pub outcomes: [Option<Outcome>; COMMANDS.len()],
}

impl Memory {
    /// Takes a decision in.
    pub fn fold(&mut self, decision: Decision) {
        self.basis.fold(decision.outcome);
        self.outcomes[usize::from(decision.command)] = Some(decision.outcome);
    }
}

/// Reads `record` by the rule that every reader of the real log follows. A removed comparison is passed by showing the
/// rule what it wants to see.
pub fn judge(rules: Rules, terms: &mut Terms, record: &Record) -> Verdict {
    let mut mark =
        Mark { claim: record.decision.is_none(), term: record.term.into(), sequence: record.sequence.into() };
    if mark.claim {
        if !rules.has(Rule::ClaimsOnlyRise) {
            *terms = Terms::default();
        }
    } else if let Some(current) = terms.current {
        if !rules.has(Rule::ReaderComparesTerm) {
            mark.term = current;
        }
        if !rules.has(Rule::ReaderComparesNonce) {
            mark.term.nonce = current.nonce;
        }
        if !rules.has(Rule::ReaderComparesSequence) {
            mark.sequence = terms.sequence + 1;
        }
    }
    terms.judge(mark)
}

/// The fold of a log, or of its beginning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Where the rule stands.
    pub terms: Terms,
    /// What the records that count add up to.
    pub memory: Memory,
}

impl Reading {
    /// Folds `log`.
    #[must_use]
    pub fn of(rules: Rules, log: &[Record]) -> Self {
        let mut reading = Self::default();
        for record in log {
            reading.read(rules, record);
        }
        reading
    }

    /// Folds one more record; returns it if it is a decision that counts.
    pub fn read(&mut self, rules: Rules, record: &Record) -> Option<Decision> {
        let verdict = judge(rules, &mut self.terms, record);
        let decision = record.decision.filter(|_| verdict == Verdict::Valid)?;
        self.memory.fold(decision);
        Some(decision)
    }
}
