//! I11: what reads showed, beside the log.

use std::collections::BTreeMap;

use domain::order::OrderEvent;
use domain::stock::StockEvent;
use serde_json::{Value, json};

use super::Violation;
use crate::history::{Attempt, Outcome};
use crate::rule::{Content, Decision};

/// Judges every answered read against the write whose token it sent.
pub fn violations(reads: &[&Attempt], decisions: &[Decision]) -> Vec<Violation> {
    let by_position: BTreeMap<String, &Decision> =
        decisions.iter().map(|decision| (decision.position(), decision)).collect();
    let events = decisions.iter().filter(|decision| shown_by(decision).is_some());
    let by_version: BTreeMap<(&str, u64), &Decision> =
        events.map(|decision| ((decision.envelope.subject.as_str(), decision.envelope.version), decision)).collect();
    let mut violations = Vec::new();
    for read in reads.iter().filter(|read| read.outcome == Outcome::Ok) {
        // A write that is not where its answer said is told as I1.
        let Some(written) = read.token.as_ref().and_then(|token| by_position.get(token)) else { continue };
        let page: Value = serde_json::from_str(&read.body).unwrap_or_default();
        let mut tell = |detail: String| {
            violations.push(Violation::new("I11", format!("{} after {}: {detail}", read.path, written.position())));
        };
        let (shown, at_least) = (version(&page), written.envelope.version);
        if shown < at_least {
            tell(format!("shows version {shown}, written was {at_least}"));
        } else if shown > 0 {
            let expected =
                by_version.get(&(written.envelope.subject.as_str(), shown)).and_then(|event| shown_by(event));
            match expected {
                None => tell(format!("shows version {shown}, which is not in the log")),
                Some((field, expected)) if page.get("data").is_none() && page[field] != expected => {
                    tell(format!("shows {field} {} at version {shown}, the log says {expected}", page[field]));
                }
                Some(_) => {}
            }
        }
    }
    violations
}

/// Of a page of one thing its version; of a list of what happened to it the latest.
fn version(page: &Value) -> u64 {
    let items = page["data"].as_array().map_or_else(|| std::slice::from_ref(page), Vec::as_slice);
    items.iter().filter_map(|item| item["version"].as_u64()).max().unwrap_or(0)
}

/// A field that tells the event from the one before it, and its value on the page.
fn shown_by(decision: &Decision) -> Option<(&'static str, Value)> {
    Some(match &decision.content {
        Content::Order(OrderEvent::OrderPlaced { .. }) => ("status", json!("placed")),
        Content::Order(OrderEvent::OrderCancelled { .. }) => ("status", json!("cancelled")),
        Content::Stock(
            StockEvent::StockReceived { available_after, .. }
            | StockEvent::StockReserved { available_after, .. }
            | StockEvent::ReservationReleased { available_after, .. },
        ) => ("available", json!(available_after)),
        Content::Unchanged | Content::Refused(_) | Content::Unreadable(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{attempt, received, reserved, stock};
    use super::*;

    fn found(body: &Value) -> Vec<String> {
        let log = stock(&[received(9, 9, 9), reserved("r", 2, 7), reserved("s", 1, 6)]);
        let read = Attempt { token: Some(log[1].position()), body: body.to_string(), ..attempt("r") };
        violations(&[&read], &log).into_iter().map(|violation| violation.detail).collect()
    }

    #[test]
    fn the_write_or_a_later_one_is_shown() {
        assert!(found(&json!({"sku": "tea", "available": 7, "version": 2})).is_empty());
        assert!(found(&json!({"sku": "tea", "available": 6, "version": 3})).is_empty());
        assert!(found(&json!({"data": [{"version": 1}, {"version": 2}]})).is_empty());
    }

    #[test]
    fn an_older_page_a_missing_one_and_an_invented_one_are_told() {
        assert!(found(&json!({"available": 9, "version": 1}))[0].contains("written was 2"));
        assert!(found(&json!({"code": "stock_item_not_found"}))[0].contains("version 0"));
        assert!(found(&json!({"data": []}))[0].contains("version 0"));
        assert!(found(&json!({"available": 6, "version": 4}))[0].contains("not in the log"));
        assert!(found(&json!({"available": 9, "version": 2}))[0].contains("the log says 7"));
    }
}
