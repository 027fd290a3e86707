//! Everything at one moment, and what may happen.

use std::fmt;

use crate::log::{COMMANDS, Outcome, Outcomes, Record, Term};
use crate::owner::Owner;

/// What goes wrong beyond records that are late or never arrive, reports that are late or lost, and nodes that crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// So many records are lost although later ones of the same term arrive.
    pub holes: u8,
    /// So many records arrive twice, the second time at any later time.
    pub copies: u8,
    /// Records and reports of one term overtake each other.
    pub reordering: bool,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// What the log has.
    pub log: Vec<Record>,
    /// Handed over and not arrived. Sorted, as all that follows, so that equal states are one.
    pub flight: Vec<Record>,
    /// Second copies, under way, of records that arrived.
    pub copies: Vec<Record>,
    /// Who believes, or hopes, to own the partition. A node that crashed is one that does nothing any more; one that
    /// claims again is another one.
    pub owners: Vec<Owner>,
    /// The commands.
    pub questions: [Question; COMMANDS.len()],
    /// A first answer was a "no" or an "already so" that was true at no moment since the question.
    pub stale: bool,
    /// Claims so far.
    pub claims: u8,
    /// Attempts that became records so far.
    pub attempts: u8,
    /// What may still go wrong.
    pub left: Faults,
}

/// What is known of one command outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Question {
    /// What the log's state would have answered at some moment since it was first asked. Empty before, and once answered.
    pub possible: Outcomes,
    /// What was answered.
    pub answers: Outcomes,
}

impl Question {
    /// Whether anybody asked.
    pub(crate) fn was_asked(&self) -> bool {
        !self.possible.is_empty() || !self.answers.is_empty()
    }
}

impl State {
    /// An answer is given outside.
    pub(crate) fn answer(&mut self, command: u8, outcome: Outcome) {
        let question = &mut self.questions[usize::from(command)];
        // A repeat gets the first answer again, however old.
        let first = question.answers.is_empty();
        let yes = matches!(outcome, Outcome::Accepted(_));
        self.stale |= first && !yes && !question.possible.contains(outcome);
        question.possible = Outcomes::default();
        question.answers.insert(outcome);
    }
}

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A node reads to the end and sends a claim.
    Claim,
    /// A record arrives.
    Land(Record),
    /// A record arrives, and will once more.
    LandFirst(Record),
    /// The second copy of a record arrives.
    LandAgain(Record),
    /// A record never arrives.
    Lose(Record),
    /// A claimant learns that its claim stands at an offset.
    Start(Term, u8),
    /// An attempt of a command reaches the owner of a term.
    Ask(Term, u8),
    /// The owner of a term learns that a record stands at an offset.
    Report(Term, u8),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim => f.write_str("a node claims"),
            Self::Land(record) | Self::LandFirst(record) => write!(f, "{record} lands"),
            Self::LandAgain(record) => write!(f, "{record} lands again"),
            Self::Lose(record) => write!(f, "{record} is lost"),
            Self::Start(term, offset) => write!(f, "t{} is told that its claim is at {offset}", term.nonce),
            Self::Ask(term, command) => write!(f, "c{command} asked at t{}", term.nonce),
            Self::Report(term, offset) => write!(f, "t{} is told of {offset}", term.nonce),
        }
    }
}
