//! I2 by version, I4, I5 and I6: the log by itself, one aggregate at a time, at each of its points.

use std::collections::BTreeMap;

use domain::order::OrderEvent;
use domain::stock::StockEvent;
use schemas::Refusal;
use schemas::topics::{COMMAND_REFUSED, COMMAND_UNCHANGED};

use super::Violation;
use crate::rule::{Content, Decision};

/// What the log says of one aggregate so far.
#[derive(Default)]
struct Aggregate {
    version: u64,
    on_hand: u64,
    /// Units by reservation.
    held: BTreeMap<String, u64>,
}

impl Aggregate {
    fn reserved(&self) -> u64 {
        self.held.values().sum()
    }
}

/// Judges decisions, given in the log's order per partition. All of an aggregate stand in one partition.
pub fn violations(decisions: &[Decision]) -> Vec<Violation> {
    let mut aggregates: BTreeMap<&str, Aggregate> = BTreeMap::new();
    let mut violations = Vec::new();
    for decision in decisions {
        let aggregate = aggregates.entry(&decision.envelope.subject).or_default();
        let place = format!("{} at {}", decision.envelope.subject, decision.position());
        let mut tell =
            |invariant, detail: String| violations.push(Violation::new(invariant, format!("{place}: {detail}")));
        if decision.topic.partition_of(decision.key.as_bytes()) != decision.partition {
            tell("I4", format!("key {} does not belong to this partition", decision.key));
        }
        check_version(aggregate, decision, &mut tell);
        match &decision.content {
            Content::Order(event) => check_total(event, &mut tell),
            Content::Stock(event) => check_stock(aggregate, event, &mut tell),
            Content::Refused(refusal) => check_refusal(aggregate, refusal, &mut tell),
            Content::Unchanged | Content::Unreadable(_) => {}
        }
    }
    violations
}

fn check_version(aggregate: &mut Aggregate, decision: &Decision, tell: &mut impl FnMut(&'static str, String)) {
    let version = decision.envelope.version;
    let is_event = match decision.content {
        Content::Order(_) | Content::Stock(_) => true,
        Content::Unreadable(_) => {
            ![COMMAND_REFUSED.name, COMMAND_UNCHANGED.name].contains(&&*decision.envelope.record_type)
        }
        Content::Refused(_) | Content::Unchanged => false,
    };
    let expected = aggregate.version + u64::from(is_event);
    if is_event && version <= aggregate.version {
        tell("I2", format!("version {version} is there twice"));
    } else if version != expected {
        tell("I4", format!("version {version} follows {}, not {expected}", aggregate.version));
    }
    aggregate.version = version;
}

fn check_total(event: &OrderEvent, tell: &mut impl FnMut(&'static str, String)) {
    if let OrderEvent::OrderPlaced { lines, total, .. } = event {
        // In 128 bits nothing wraps.
        let line = |line: &domain::order::Line| i128::from(line.quantity.get()) * i128::from(line.unit_price.get());
        let sum: i128 = lines.as_slice().iter().map(line).sum();
        if sum != i128::from(total.amount) {
            tell("I6", format!("the total is {}, its lines come to {sum}", total.amount));
        }
    }
}

fn check_stock(aggregate: &mut Aggregate, event: &StockEvent, tell: &mut impl FnMut(&'static str, String)) {
    let available_after = match event {
        StockEvent::StockReceived { quantity, on_hand_after, available_after, .. } => {
            aggregate.on_hand += u64::from(quantity.get());
            if *on_hand_after != aggregate.on_hand {
                tell("I5", format!("on_hand_after is {on_hand_after}, the deliveries come to {}", aggregate.on_hand));
            }
            *available_after
        }
        StockEvent::StockReserved { reservation_id, quantity, available_after, .. } => {
            let before = aggregate.held.insert(reservation_id.to_string(), u64::from(quantity.get()));
            if before.is_some() {
                tell("I5", format!("reservation {reservation_id} was made twice"));
            }
            *available_after
        }
        StockEvent::ReservationReleased { reservation_id, quantity, available_after, .. } => {
            let before = aggregate.held.remove(reservation_id.as_str());
            if before != Some(u64::from(quantity.get())) {
                tell("I5", format!("{quantity:?} of {reservation_id} were released, {before:?} were held"));
            }
            *available_after
        }
    };
    match aggregate.on_hand.checked_sub(aggregate.reserved()) {
        None => tell("I5", format!("{} reserved of {} on hand", aggregate.reserved(), aggregate.on_hand)),
        Some(available) if available != available_after => {
            tell("I5", format!("available_after is {available_after}, it comes to {available}"));
        }
        Some(_) => {}
    }
}

fn check_refusal(aggregate: &Aggregate, refusal: &Refusal, tell: &mut impl FnMut(&'static str, String)) {
    if refusal.code != "out_of_stock" {
        return;
    }
    let fact = |name: &str| refusal.facts.get(name).copied().and_then(|fact| u64::try_from(fact).ok());
    let available = aggregate.on_hand.saturating_sub(aggregate.reserved());
    if fact("available") != Some(available) || fact("requested").is_none_or(|requested| requested <= available) {
        tell("I5", format!("refused as out of stock with {:?}, but {available} were available", refusal.facts));
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{decision, placed, received, refused, released, reserved, stock};
    use super::*;

    fn found(decisions: &[Decision]) -> Vec<&'static str> {
        violations(decisions).iter().map(|violation| violation.invariant).collect()
    }

    #[test]
    fn a_sound_history_is_fine() {
        let history =
            [received(10, 10, 10), reserved("a", 4, 6), released("a", 4, 10), reserved("a", 10, 0), refused(1, 0)];
        assert_eq!(found(&stock(&history)), Vec::<&str>::new());
        assert_eq!(found(&[decision("a", 0, placed(2))]), Vec::<&str>::new());
    }

    #[test]
    fn selling_more_than_there_is_is_told() {
        assert!(found(&stock(&[received(10, 10, 10), reserved("a", 8, 2), reserved("b", 3, 0)])).contains(&"I5"));
        assert_eq!(found(&stock(&[received(10, 10, 10), reserved("a", 1, 9), reserved("a", 1, 9)])), ["I5"]);
    }

    #[test]
    fn refusing_what_is_there_is_told() {
        assert_eq!(found(&stock(&[received(10, 10, 10), refused(5, 4)])), ["I5"]);
        assert_eq!(found(&stock(&[received(10, 10, 10), refused(10, 10)])), ["I5"]);
    }

    #[test]
    fn a_gap_and_a_fork_of_versions_are_told() {
        let mut history = stock(&[received(1, 1, 1), received(1, 2, 2)]);
        history[1].envelope.version = 3;
        assert_eq!(found(&history), ["I4"]);
        history[1].envelope.version = 1;
        assert_eq!(found(&history), ["I2"]);
    }
}
