//! The protocol as a state machine: what may happen next, and what comes of it.

use stateright::{Model, Property};

use crate::log::{COMMANDS, Reading, Record, Term};
use crate::owner::{Handled, Lead, Owner};
use crate::properties;
use crate::rules::{Rule, Rules};
use crate::state::{Action, Faults, State};

/// How far the search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Claims, each of a node that may believe that it owns the partition from then on.
    pub claims: u8,
    /// Attempts of commands that become records, in all.
    pub attempts: u8,
    /// Records of one term, without its claim.
    pub records: u8,
    /// Records in the log.
    pub log: u8,
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
        if state.claims < self.bounds.claims {
            actions.push(Action::Claim);
        }
        self.landings(state, actions);
        for owner in &state.owners {
            match owner {
                Owner::Claiming { term, .. } => {
                    let claim = |record: &Record| record.term == *term && record.decision.is_none();
                    actions.extend(offsets(&state.log, claim).map(|offset| Action::Start(*term, offset)));
                }
                Owner::Leading(lead) => {
                    actions.extend(questions(state).map(|command| Action::Ask(lead.term, command)));
                    self.reports(state, lead, actions);
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Claim => self.claim(&mut state),
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
            Action::Ask(term, command) => {
                if !self.ask(&mut state, term, command) {
                    return None;
                }
            }
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
    fn claim(&self, state: &mut State) {
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

    /// Whether it is within bounds.
    fn ask(&self, state: &mut State, term: Term, command: u8) -> bool {
        let Some(Owner::Leading(mut lead)) = remove(&mut state.owners, term) else { return false };
        let question = &mut state.questions[usize::from(command)];
        if !question.was_asked() {
            let basis = Reading::of(self.rules, &state.log).memory.basis;
            question.possible.insert(basis.decide(command));
        }
        match lead.handle(self.rules, command) {
            Handled::Answered(outcome) => state.answer(command, outcome),
            Handled::Appended(record) => {
                put(&mut state.flight, record);
                state.attempts += 1;
            }
            Handled::Waits => {}
        }
        let within = state.attempts <= self.bounds.attempts && lead.sequence <= self.bounds.records;
        put(&mut state.owners, Owner::Leading(lead));
        within
    }
}

/// Commands that may be asked. Two that want the same are alike until they are asked: the first goes first.
fn questions(state: &State) -> impl Iterator<Item = u8> {
    let may_be_asked = |at: usize| {
        let first = COMMANDS.iter().position(|wish| *wish == COMMANDS[at]);
        first.is_some_and(|first| first == at || state.questions[first].was_asked())
    };
    (0..).zip(0..COMMANDS.len()).filter(move |(_, at)| may_be_asked(*at)).map(|(command, _)| command)
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
