//! I1, I2 by command, I3 and I8: answers beside the log.

use std::collections::BTreeMap;

use domain::order::OrderEvent;
use domain::stock::StockEvent;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Violation;
use crate::history::{Attempt, Outcome, command_id};
use crate::rule::{Content, Decision};

/// Judges every command of the history, and every decision of the log. A command is what one key names; where `several_nodes`
/// answered, what it names for one aggregate.
pub fn violations(
    attempts: &[Attempt],
    decisions: &[Decision],
    allow_others: bool,
    several_nodes: bool,
) -> Vec<Violation> {
    let scope = |subject: String| several_nodes.then_some(subject);
    let mut by_id: BTreeMap<(Uuid, Option<String>), Vec<&Decision>> = BTreeMap::new();
    for decision in decisions {
        let subject = scope(decision.envelope.subject.clone());
        by_id.entry((decision.envelope.id, subject)).or_default().push(decision);
    }
    let mut by_key: BTreeMap<(&str, Option<String>), Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts {
        by_key.entry((&attempt.key, scope(attempt.subject()))).or_default().push(attempt);
    }
    let mut violations = Vec::new();
    for ((id, _), found) in by_id.iter().filter(|(_, found)| found.len() > 1) {
        let positions: Vec<_> = found.iter().map(|decision| decision.position()).collect();
        violations.push(Violation::new("I2", format!("command {id} was decided at {}", positions.join(" and "))));
    }
    for ((key, subject), attempts) in &by_key {
        let found = by_id.remove(&(command_id(key), subject.clone())).unwrap_or_default();
        acknowledged(key, attempts, &found, &mut violations);
        same_answer(key, attempts, &mut violations);
        let may_be_there = attempts.iter().any(|attempt| attempt.outcome != Outcome::Failed);
        if !may_be_there && let Some(decision) = found.first() {
            let detail = format!("every attempt of {key} failed, but {} decided it", decision.position());
            violations.push(Violation::new("I3", detail));
        }
    }
    if !allow_others {
        violations.extend(by_id.values().flatten().map(|decision| {
            Violation::new("I3", format!("nobody asked for the {} at {}", decision.kind(), decision.position()))
        }));
    }
    violations
}

/// I1: each answer's decision stands where it says and says what was asked for.
fn acknowledged(key: &str, attempts: &[&Attempt], found: &[&Decision], violations: &mut Vec<Violation>) {
    for attempt in attempts.iter().filter(|attempt| attempt.outcome.is_decided()) {
        let Some(decision) = found.first() else {
            let (status, body) = (attempt.status.unwrap_or_default(), &attempt.body);
            violations.push(Violation::new("I1", format!("{key} was answered {status} {body}, but is not in the log")));
            return;
        };
        let position = decision.position();
        if attempt.position.as_ref() != Some(&position) {
            let said = attempt.position.as_deref().unwrap_or("nowhere");
            violations.push(Violation::new("I1", format!("{key} was answered to be {said}, but is {position}")));
        }
        if let Err(detail) = says_what_was_asked(attempt, decision) {
            violations.push(Violation::new("I1", format!("{key} at {position}: {detail}")));
        }
    }
}

fn says_what_was_asked(attempt: &Attempt, decision: &Decision) -> Result<(), String> {
    let answer: Value =
        serde_json::from_str(&attempt.body).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let event = match (&decision.content, attempt.outcome) {
        (Content::Refused(refusal), Outcome::Refused) => {
            return same("the code of the refusal", &answer["code"], &refusal.code.as_str().into());
        }
        (Content::Unreadable(why), _) => return Err(format!("it cannot be read: {why}")),
        (Content::Refused(refusal), _) => return Err(format!("answered with yes, but refused with {}", refusal.code)),
        (_, Outcome::Refused) => {
            return Err(format!("answered with {}, but it is a {}", answer["code"], decision.kind()));
        }
        (Content::Unchanged, _) => None,
        (Content::Order(event), _) => Some(of_order(event)),
        (Content::Stock(event), _) => Some(of_stock(event)),
    };
    same("the version", &answer["version"], &decision.envelope.version.into())?;
    let (kind, asked) =
        asked(attempt).ok_or_else(|| format!("no decision follows from {} {}", attempt.method, attempt.path))?;
    match event {
        None => Ok(()),
        Some(_) if kind != decision.kind() => Err(format!("asked for {kind}, found {}", decision.kind())),
        Some(event) => same("the content", &event, &asked),
    }
}

fn same(what: &str, found: &Value, expected: &Value) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found}, not {expected}")) }
}

/// The event that follows from a request, and what of it the request determines.
fn asked(attempt: &Attempt) -> Option<(&'static str, Value)> {
    let path: Vec<&str> = attempt.path.trim_start_matches("/v1/").split('/').collect();
    let body = &attempt.request;
    Some(match path.as_slice() {
        ["orders"] => ("OrderPlaced", body.clone()),
        ["orders", id, "cancel"] => ("OrderCancelled", json!({"id": id, "reason": body["reason"]})),
        ["stock", sku, "receipts"] => {
            ("StockReceived", json!({"sku": sku, "quantity": body["quantity"], "reference": body["reference"]}))
        }
        ["stock", sku, "reservations"] => {
            let (id, quantity) = (&body["reservation_id"], &body["quantity"]);
            ("StockReserved", json!({"sku": sku, "reservation_id": id, "quantity": quantity}))
        }
        ["stock", sku, "reservations", id] => ("ReservationReleased", json!({"sku": sku, "reservation_id": id})),
        _ => return None,
    })
}

fn of_order(event: &OrderEvent) -> Value {
    match event {
        OrderEvent::OrderPlaced { customer_id, lines, total, .. } => {
            let line = |line: &domain::order::Line| json!({"sku": line.sku.as_str(), "quantity": line.quantity.get(), "unit_price": line.unit_price.get()});
            let lines: Vec<Value> = lines.as_slice().iter().map(line).collect();
            json!({"customer_id": customer_id.as_str(), "currency": total.currency.code(), "lines": lines})
        }
        OrderEvent::OrderCancelled { order_id, reason, .. } => {
            json!({"id": order_id.to_string(), "reason": reason.as_str()})
        }
    }
}

fn of_stock(event: &StockEvent) -> Value {
    match event {
        StockEvent::StockReceived { sku, quantity, reference, .. } => {
            json!({"sku": sku.as_str(), "quantity": quantity.get(), "reference": reference.as_str()})
        }
        StockEvent::StockReserved { sku, reservation_id, quantity, .. } => {
            json!({"sku": sku.as_str(), "reservation_id": reservation_id.as_str(), "quantity": quantity.get()})
        }
        StockEvent::ReservationReleased { sku, reservation_id, .. } => {
            json!({"sku": sku.as_str(), "reservation_id": reservation_id.as_str()})
        }
    }
}

/// I8: what was decided is answered alike for ever, once as new; another request under the same key is turned away.
fn same_answer(key: &str, attempts: &[&Attempt], violations: &mut Vec<Violation>) {
    let Some(first) = attempts.iter().find(|attempt| attempt.outcome.is_decided()) else { return };
    let mut tell = |detail: String| violations.push(Violation::new("I8", format!("{key}: {detail}")));
    let of = |attempt: &Attempt| (attempt.method.clone(), attempt.path.clone(), attempt.request.clone());
    for attempt in attempts {
        if of(attempt) != of(first) {
            if attempt.outcome.is_decided() {
                tell(format!("two requests were answered under one key: {} and {}", first.path, attempt.path));
            }
        } else if attempt.outcome.is_decided() && (attempt.status, &attempt.body) != (first.status, &first.body) {
            tell(format!("answered {:?} {} and {:?} {}", first.status, first.body, attempt.status, attempt.body));
        }
    }
    let as_new = attempts.iter().filter(|attempt| attempt.outcome.is_decided() && !attempt.replayed).count();
    if as_new > 1 {
        tell(format!("{as_new} answers call themselves the first"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{attempt, decision, placed};
    use super::*;

    fn found(attempts: &[Attempt], decisions: &[Decision]) -> Vec<&'static str> {
        violations(attempts, decisions, false, false).iter().map(|violation| violation.invariant).collect()
    }

    #[test]
    fn an_answered_command_that_is_in_the_log_is_fine() {
        assert_eq!(found(&[attempt("a")], &[decision("a", 0, placed(2))]), Vec::<&str>::new());
    }

    #[test]
    fn a_lost_acknowledged_command_is_told() {
        assert_eq!(found(&[attempt("a")], &[]), ["I1"]);
    }

    #[test]
    fn a_command_that_is_there_with_another_content_or_elsewhere_is_told() {
        assert_eq!(found(&[attempt("a")], &[decision("a", 0, placed(3))]), ["I1"]);
        assert_eq!(found(&[attempt("a")], &[decision("a", 1, placed(2))]), ["I1"]);
        assert_eq!(found(&[attempt("a")], &[decision("a", 0, Content::Unchanged)]), Vec::<&str>::new());
    }

    #[test]
    fn a_command_that_was_applied_twice_is_told() {
        assert_eq!(found(&[attempt("a")], &[decision("a", 0, placed(2)), decision("a", 1, placed(2))]), ["I2"]);
    }

    #[test]
    fn a_phantom_is_told() {
        let failed = Attempt { outcome: Outcome::Failed, status: Some(503), ..attempt("a") };
        assert_eq!(found(std::slice::from_ref(&failed), &[decision("a", 0, placed(2))]), ["I3"]);
        let unknown = Attempt { outcome: Outcome::Unknown, status: None, ..attempt("a") };
        assert_eq!(found(&[failed, unknown], &[decision("a", 0, placed(2))]), Vec::<&str>::new());
        assert_eq!(found(&[], &[decision("b", 0, placed(2))]), ["I3"]);
        assert!(violations(&[], &[decision("b", 0, placed(2))], true, false).is_empty());
    }

    #[test]
    fn on_several_nodes_a_key_may_name_one_command_for_each_aggregate() {
        let cancel = Attempt { path: format!("/v1/orders/{}/cancel", Uuid::nil()), ..attempt("a") };
        let refused = Attempt { outcome: Outcome::Failed, status: Some(422), ..attempt("a") };
        let log = [decision("a", 0, Content::Unchanged)];
        let found = |attempts: &[Attempt]| violations(attempts, &log, false, true).len();
        assert_eq!(found(&[cancel.clone(), refused]), 0);
        assert_eq!(found(&[cancel.clone(), cancel.clone()]), 1, "I8: both call themselves the first");
        assert_eq!(found(&[cancel, attempt("a")]), 1, "I1: the order that was answered is not there");
    }

    #[test]
    fn two_answers_to_one_key_are_told() {
        let again = Attempt { replayed: true, ..attempt("a") };
        let log = [decision("a", 0, placed(2))];
        assert_eq!(found(&[attempt("a"), again.clone()], &log), Vec::<&str>::new());
        assert_eq!(found(&[attempt("a"), attempt("a")], &log), ["I8"]);
        let other = Attempt { body: again.body.replace("placed", "done"), ..again.clone() };
        assert_eq!(found(&[attempt("a"), other], &log), ["I8"]);
        let stranger = Attempt { request: json!({"customer_id": "bob"}), ..again };
        assert!(found(&[attempt("a"), stranger], &log).contains(&"I8"));
    }
}
