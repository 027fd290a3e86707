//! The protocol as a state machine: what may happen next, and what comes of it.

use std::fmt;

use stateright::{Model, Property};

use crate::log::{COMMANDS, Outcome, Outcomes, Reading, Record, Term};
use crate::owner::{Handled, Lead, Owner};
use crate::properties;
use crate::rules::{Rule, Rules};

/// How far the search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Nodes that may believe that they own the partition.
    pub owners: u8,
    /// Claims in all.
    pub claims: u8,
    /// Attempts of commands that become records, in all.
    pub attempts: u8,
    /// Records of one term, without its claim.
    pub records: u8,
    /// Records in the log.
    pub log: u8,
}

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

/// The model.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// How far the search goes.
    pub bounds: Bounds,
    /// What goes wrong.
    pub faults: Faults,
    /// Which rules hold.
    pub rules: Rules,
    /// The only property to look at, by name; all of them if none is given. A breadth-first search for one on one thread
    /// ends at the shortest counterexample.
    pub only: Option<&'static str>,
}

/// What is known of one command outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Question {
    /// What the log's state would have answered at some moment since it was first asked. Empty before, and once answered.
    pub possible: Outcomes,
    /// What was answered.
    pub answers: Outcomes,
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
    /// The nodes. One that crashed is one that does nothing any more, so it stays until its place is needed.
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

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A node reads to the end and sends a claim. Where every place is taken, the owner of a term crashed before.
    Claim {
        /// Its term.
        crashed: Option<Term>,
    },
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
            Self::Claim { crashed: None } => f.write_str("a node claims"),
            Self::Claim { crashed: Some(term) } => write!(f, "t{}'s node restarts and claims", term.nonce),
            Self::Land(record) | Self::LandFirst(record) => write!(f, "{record} lands"),
            Self::LandAgain(record) => write!(f, "{record} lands again"),
            Self::Lose(record) => write!(f, "{record} is lost"),
            Self::Start(term, offset) => write!(f, "t{} is told that its claim is at {offset}", term.nonce),
            Self::Ask(term, command) => write!(f, "c{command} asked at t{}", term.nonce),
            Self::Report(term, offset) => write!(f, "t{} is told of {offset}", term.nonce),
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            log: Vec::new(),
            flight: Vec::new(),
            copies: Vec::new(),
            owners: Vec::new(),
            questions: Default::default(),
            stale: false,
            claims: 0,
            attempts: 0,
            left: self.faults,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.claims(state, actions);
        self.landings(state, actions);
        for owner in &state.owners {
            match owner {
                Owner::Claiming { term, .. } => {
                    let claim = |record: &Record| record.term == *term && record.decision.is_none();
                    actions.extend(offsets(&state.log, claim).map(|offset| Action::Start(*term, offset)));
                }
                Owner::Leading(lead) => {
                    self.questions(state, lead, actions);
                    self.reports(state, lead, actions);
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Claim { crashed } => self.claim(&mut state, crashed),
            Action::Land(record) => {
                take(&mut state.flight, record);
                self.land(&mut state, record);
            }
            Action::LandFirst(record) => {
                take(&mut state.flight, record);
                self.land(&mut state, record);
                put(&mut state.copies, record);
                state.left.copies -= 1;
            }
            Action::LandAgain(record) => {
                take(&mut state.copies, record);
                self.land(&mut state, record);
            }
            Action::Lose(record) => {
                take(&mut state.flight, record);
                state.left.holes -= 1;
            }
            Action::Start(term, offset) => {
                let owner = remove(&mut state.owners, term);
                if let Some(Owner::Claiming { term, end }) = owner
                    && let Some(lead) = Lead::start(self.rules, term, end, &state.log, offset)
                {
                    put(&mut state.owners, Owner::Leading(lead));
                }
            }
            Action::Ask(term, command) => self.ask(&mut state, term, command),
            Action::Report(term, offset) => {
                if let Some(Owner::Leading(mut lead)) = remove(&mut state.owners, term)
                    && let Some(decision) = lead.confirm(self.rules, &state.log, offset)
                {
                    put(&mut state.owners, Owner::Leading(lead));
                    state.answer(decision.command, decision.outcome);
                }
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = properties::all();
        properties.retain(|property| self.only.is_none_or(|only| property.name == only));
        properties
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }
}

/// What may happen.
impl Protocol {
    fn claims(&self, state: &State, actions: &mut Vec<Action>) {
        if state.claims >= self.bounds.claims {
            return;
        }
        if state.owners.len() < usize::from(self.bounds.owners) {
            actions.push(Action::Claim { crashed: None });
        } else {
            actions.extend(state.owners.iter().map(|owner| Action::Claim { crashed: Some(owner.term()) }));
        }
    }

    fn landings(&self, state: &State, actions: &mut Vec<Action>) {
        if state.log.len() >= usize::from(self.bounds.log) {
            return;
        }
        for (at, record) in state.flight.iter().enumerate() {
            let overtakes = at > 0 && state.flight[at - 1].term == record.term;
            if !overtakes || self.faults.reordering {
                actions.push(Action::Land(*record));
                if state.left.copies > 0 {
                    actions.push(Action::LandFirst(*record));
                }
            }
            // A lost claim is one that has not arrived yet: nothing follows it.
            if state.left.holes > 0 && record.decision.is_some() {
                actions.push(Action::Lose(*record));
            }
        }
        actions.extend(state.copies.iter().map(|record| Action::LandAgain(*record)));
    }

    fn questions(&self, state: &State, lead: &Lead, actions: &mut Vec<Action>) {
        if state.attempts < self.bounds.attempts && lead.sequence < self.bounds.records {
            for command in 0..u8::try_from(COMMANDS.len()).unwrap_or(u8::MAX) {
                // Two commands that want the same are alike until they are asked: the first goes first.
                let first = COMMANDS.iter().position(|wish| *wish == COMMANDS[usize::from(command)]);
                if first == Some(usize::from(command)) || first.is_some_and(|first| state.questions[first].was_asked())
                {
                    actions.push(Action::Ask(lead.term, command));
                }
            }
        }
    }

    /// A report of a term that ended is ignored, so only those matter that the owner waits for.
    fn reports(&self, state: &State, lead: &Lead, actions: &mut Vec<Action>) {
        for pending in &lead.pending {
            let before = actions.len();
            actions.extend(offsets(&state.log, |record| record == pending).map(|at| Action::Report(lead.term, at)));
            if actions.len() > before && !self.faults.reordering {
                return;
            }
        }
    }
}

/// What comes of it.
impl Protocol {
    fn claim(&self, state: &mut State, crashed: Option<Term>) {
        if let Some(crashed) = crashed {
            remove(&mut state.owners, crashed);
        }
        state.claims += 1;
        let reading = Reading::of(self.rules, &state.log);
        let number = u8::try_from(reading.terms.next_number()).unwrap_or(u8::MAX);
        let term = Term { number, nonce: state.claims };
        put(&mut state.flight, Record { term, sequence: 0, decision: None });
        let end = end(&state.log);
        let owner = if !self.rules.has(Rule::RestoreWaits) {
            Owner::Leading(Lead::new(term, end + 1, reading.memory))
        } else if !self.rules.has(Rule::RestoreUpToClaim) {
            Owner::Claiming { term, end }
        } else {
            Owner::Claiming { term, end: 0 }
        };
        put(&mut state.owners, owner);
    }

    fn land(&self, state: &mut State, record: Record) {
        state.log.push(record);
        let basis = Reading::of(self.rules, &state.log).memory.basis;
        for (command, question) in (0..).zip(&mut state.questions) {
            if !question.possible.is_empty() {
                question.possible.insert(basis.decide(command));
            }
        }
    }

    fn ask(&self, state: &mut State, term: Term, command: u8) {
        let question = &mut state.questions[usize::from(command)];
        if !question.was_asked() {
            let basis = Reading::of(self.rules, &state.log).memory.basis;
            question.possible.insert(basis.decide(command));
        }
        let Some(Owner::Leading(mut lead)) = remove(&mut state.owners, term) else { return };
        let handled = lead.handle(self.rules, command);
        put(&mut state.owners, Owner::Leading(lead));
        match handled {
            Handled::Answered(outcome) => state.answer(command, outcome),
            Handled::Appended(record) => {
                put(&mut state.flight, record);
                state.attempts += 1;
            }
            Handled::Waits => {}
        }
    }
}

impl Question {
    fn was_asked(&self) -> bool {
        !self.possible.is_empty() || !self.answers.is_empty()
    }
}

impl State {
    fn answer(&mut self, command: u8, outcome: Outcome) {
        let question = &mut self.questions[usize::from(command)];
        // A repeat gets the first answer again, however old.
        let first = question.answers.is_empty();
        let yes = matches!(outcome, Outcome::Accepted(_));
        self.stale |= first && !yes && !question.possible.contains(outcome);
        question.possible = Outcomes::default();
        question.answers.insert(outcome);
    }
}

fn end(log: &[Record]) -> u8 {
    u8::try_from(log.len()).unwrap_or(u8::MAX)
}

/// Where such records stand.
fn offsets(log: &[Record], which: impl Fn(&Record) -> bool) -> impl Iterator<Item = u8> {
    (0..).zip(log).filter(move |(_, record)| which(record)).map(|(offset, _)| offset)
}

fn put<T: Ord>(sorted: &mut Vec<T>, item: T) {
    let at = sorted.partition_point(|other| *other < item);
    sorted.insert(at, item);
}

fn take(sorted: &mut Vec<Record>, record: Record) {
    if let Some(at) = sorted.iter().position(|other| *other == record) {
        sorted.remove(at);
    }
}

fn remove(owners: &mut Vec<Owner>, term: Term) -> Option<Owner> {
    let at = owners.iter().position(|owner| owner.term() == term)?;
    Some(owners.remove(at))
}
