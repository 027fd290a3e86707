//! What must always hold, and what must be possible so that this says something.

use stateright::Property;

use crate::log::{COMMANDS, Outcomes, Reading, Record};
use crate::owner::Owner;
use crate::protocol::Protocol;
use crate::rules::Rules;
use crate::state::State;

/// An accepted command has exactly one record that counts.
pub const S1: &str = "S1 a \"yes\" has exactly one valid record";
/// No command runs twice.
pub const S2: &str = "S2 no command has two valid records";
/// What counts was decided on what counts.
pub const S3: &str = "S3 a valid decision was made on exactly the valid records before it";
/// A "no" was true.
pub const S4: &str = "S4 a \"no\" was true at some moment since the question";
/// A "no" stays one.
pub const S4B: &str = "S4b what was answered \"no\" never happens, nor the other way round";
/// A repeat gets the first answer.
pub const S5: &str = "S5 every answer to a command is the same";
/// Who reads the log knows the answer.
pub const S6: &str = "S6 an answer is what the command's only valid record says";

/// What must always hold.
pub const SAFETY: [&str; 7] = [S1, S2, S3, S4, S4B, S5, S6];

/// What a reader makes of the log.
struct Judged {
    /// Valid records by command.
    records: [u8; COMMANDS.len()],
    /// What they say.
    outcomes: [Outcomes; COMMANDS.len()],
    /// One was not decided on the valid records before it.
    misdecided: bool,
    /// Terms with valid decisions.
    deciding_terms: u8,
}

impl Judged {
    fn of(rules: Rules, log: &[Record]) -> Self {
        let mut judged = Self { records: [0; 3], outcomes: Default::default(), misdecided: false, deciding_terms: 0 };
        let (mut reading, mut latest) = (Reading::default(), None);
        for record in log {
            let before = reading.memory.basis;
            let Some(decision) = reading.read(rules, record) else { continue };
            judged.records[usize::from(decision.command)] += 1;
            judged.outcomes[usize::from(decision.command)].insert(decision.outcome);
            judged.misdecided |= decision.basis != before;
            judged.deciding_terms += u8::from(latest != Some(record.term));
            latest = Some(record.term);
        }
        judged
    }
}

/// Whether something holds for every command: of its answers, its valid records and what they say.
fn each(model: &Protocol, state: &State, holds: impl Fn(Outcomes, u8, Outcomes) -> bool) -> bool {
    let judged = Judged::of(model.rules, &state.log);
    let valid = judged.records.iter().zip(judged.outcomes);
    state.questions.iter().zip(valid).all(|(question, (records, valid))| holds(question.answers, *records, valid))
}

/// All of them.
pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(S1, |model, state| {
            each(model, state, |answers, records, valid| !answers.has_yes() || records == 1 && valid.has_yes())
        }),
        Property::always(S2, |model, state| each(model, state, |_, records, _| records <= 1)),
        Property::always(S3, |model: &Protocol, state: &State| !Judged::of(model.rules, &state.log).misdecided),
        Property::always(S4, |_, state: &State| !state.stale),
        Property::always(S4B, |model, state| {
            each(model, state, |answers, _, valid| {
                !(answers.has_no() && valid.has_yes() || answers.has_yes() && valid.has_no())
            })
        }),
        Property::always(S5, |_, state: &State| state.questions.iter().all(|question| question.answers.len() <= 1)),
        Property::always(S6, |model, state| {
            each(model, state, |answers, records, valid| answers.is_empty() || records == 1 && valid == answers)
        }),
        Property::sometimes("a \"yes\" is given", |_, state| answered(state, |answers| answers.has_yes())),
        Property::sometimes("a \"no\" is given", |_, state| answered(state, |answers| answers.has_no())),
        Property::sometimes("two terms have decided", |model: &Protocol, state: &State| {
            Judged::of(model.rules, &state.log).deciding_terms > 1
        }),
        Property::sometimes("an owner goes on past somebody else's record", |_, state: &State| {
            state.owners.iter().any(|owner| went_past(owner, &state.log))
        }),
    ]
}

fn answered(state: &State, what: impl Fn(Outcomes) -> bool) -> bool {
    state.questions.iter().any(|question| what(question.answers))
}

/// More lies between the owner's claim, if late the copy, and its expected offset than its own records.
fn went_past(owner: &Owner, log: &[Record]) -> bool {
    let Owner::Leading(lead) = owner else { return false };
    let claim = log.iter().rposition(|record| record.term == lead.term && record.decision.is_none());
    let confirmed = usize::from(lead.sequence) - lead.pending.len();
    claim.is_some_and(|claim| confirmed > 0 && usize::from(lead.expected) > claim + 1 + confirmed)
}
