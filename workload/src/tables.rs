//! What the stores must hold: the fold of the log, written down once more, as rows of JSON by view and key.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use domain::order::OrderEvent;
use domain::stock::StockEvent;
use serde_json::{Value, json};

use crate::rule::{Content, Decision};

/// Rows of one view by key.
pub type Table = BTreeMap<String, Value>;

/// The views, by name.
pub type Tables = BTreeMap<&'static str, Table>;

/// Orders by id, in PostgreSQL.
pub const ORDER_DETAIL: &str = "order_detail";
/// Orders by customer, in PostgreSQL.
pub const ORDER_LIST: &str = "order_list";
/// Stock by SKU, in MySQL.
pub const STOCK_LEVEL: &str = "stock_level";
/// What happened, in MongoDB.
pub const ACTIVITY_FEED: &str = "activity_feed";

/// Every view with the topics that it folds.
pub const VIEWS: [(&str, &[&str]); 4] = [
    (ORDER_DETAIL, &["order.events"]),
    (ORDER_LIST, &["order.events"]),
    (STOCK_LEVEL, &["stock.events"]),
    (ACTIVITY_FEED, &["order.events", "stock.events"]),
];

/// Folds decisions, given in the log's order per partition.
#[must_use]
pub fn fold<'d>(decisions: impl IntoIterator<Item = &'d Decision>) -> Tables {
    let mut tables: Tables = VIEWS.iter().map(|(view, _)| (*view, Table::new())).collect();
    for decision in decisions {
        let gist = match &decision.content {
            Content::Order(event) => order(&mut tables, event, decision.envelope.version),
            Content::Stock(event) => stock(&mut tables, event, decision.envelope.version),
            Content::Unchanged | Content::Refused(_) | Content::Unreadable(_) => continue,
        };
        let row = json!({
            "id": decision.envelope.id.to_string(),
            "subject": decision.envelope.subject,
            "type": decision.kind(),
            "at": decision.envelope.time.0,
            "version": decision.envelope.version,
            "topic": decision.topic.name,
            "partition": decision.partition,
            "offset": decision.offset,
            "data": gist,
        });
        table(&mut tables, ACTIVITY_FEED).insert(decision.position(), row);
    }
    tables
}

fn table<'t>(tables: &'t mut Tables, view: &'static str) -> &'t mut Table {
    tables.entry(view).or_default()
}

/// Returns the gist of the event for the feed.
fn order(tables: &mut Tables, event: &OrderEvent, version: u64) -> Value {
    match event {
        OrderEvent::OrderPlaced { order_id, customer_id, lines, total, placed_at } => {
            let summary = json!({
                "id": order_id.to_string(),
                "customer_id": customer_id.as_str(),
                "status": "placed",
                "total_amount": total.amount,
                "currency": total.currency.code(),
                "placed_at": placed_at.0,
                "version": version,
            });
            let line = |line: &domain::order::Line| json!({"sku": line.sku.as_str(), "quantity": line.quantity.get(), "unit_price": line.unit_price.get()});
            let mut detail = summary.clone();
            detail["lines"] = lines.as_slice().iter().map(line).collect();
            table(tables, ORDER_DETAIL).insert(order_id.to_string(), detail);
            table(tables, ORDER_LIST).insert(order_id.to_string(), summary);
            json!({"customer_id": customer_id.as_str(), "total": total.amount, "currency": total.currency.code()})
        }
        OrderEvent::OrderCancelled { order_id, reason, total, .. } => {
            for view in [ORDER_DETAIL, ORDER_LIST] {
                if let Some(row) = table(tables, view).get_mut(&order_id.to_string()) {
                    row["status"] = "cancelled".into();
                    row["version"] = version.into();
                }
            }
            json!({"reason": reason.as_str(), "total": total.amount, "currency": total.currency.code()})
        }
    }
}

fn stock(tables: &mut Tables, event: &StockEvent, version: u64) -> Value {
    let levels = table(tables, STOCK_LEVEL);
    let on_hand = |sku: &str| levels.get(sku).and_then(|row| row["on_hand"].as_u64()).unwrap_or(0);
    let (sku, on_hand, available, gist) = match event {
        StockEvent::StockReceived { sku, quantity, reference, on_hand_after, available_after } => {
            let gist = json!({"reference": reference.as_str(), "quantity": quantity.get(), "available_after": available_after});
            (sku, *on_hand_after, *available_after, gist)
        }
        StockEvent::StockReserved { sku, reservation_id, quantity, available_after }
        | StockEvent::ReservationReleased { sku, reservation_id, quantity, available_after } => {
            let id = reservation_id.as_str();
            let gist = json!({"reservation_id": id, "quantity": quantity.get(), "available_after": available_after});
            (sku, on_hand(sku.as_str()), *available_after, gist)
        }
    };
    let row = json!({
        "sku": sku.as_str(),
        "on_hand": on_hand,
        "reserved": on_hand.saturating_sub(available),
        "available": available,
        "version": version,
    });
    levels.insert(sku.to_string(), row);
    gist
}

/// Where `found` is not `expected`, one line each, by view and key.
#[must_use]
pub fn differences(expected: &Tables, found: &Tables) -> Vec<String> {
    let mut lines = Vec::new();
    let none = Table::new();
    for (view, rows) in expected {
        let other = found.get(view).unwrap_or(&none);
        for (key, row) in rows {
            match other.get(key) {
                None => lines.push(format!("{view} {key}: the log says {row}, the store has no row")),
                Some(stored) if stored != row => {
                    let mut line = format!("{view} {key}:");
                    for field in fields(row, stored) {
                        // Writing to a string does not fail.
                        let _ = write!(line, " {field} is {}, the log says {};", stored[&field], row[&field]);
                    }
                    lines.push(line);
                }
                Some(_) => {}
            }
        }
        let extra = other.iter().filter(|(key, _)| !rows.contains_key(*key));
        lines.extend(extra.map(|(key, row)| format!("{view} {key}: the store has {row}, the log says no such row")));
    }
    lines
}

fn fields(one: &Value, other: &Value) -> Vec<String> {
    let names = |row: &Value| row.as_object().map(|row| row.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let all: std::collections::BTreeSet<String> = names(one).into_iter().chain(names(other)).collect();
    all.into_iter().filter(|field| one[field] != other[field]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_differ_is_told() {
        let table = |rows: &[(&str, i64)]| {
            let rows = rows.iter().map(|(key, total)| ((*key).to_owned(), json!({"total_amount": total}))).collect();
            Tables::from([(ORDER_DETAIL, rows)])
        };
        let expected = table(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(differences(&expected, &expected), Vec::<String>::new());
        let lines = differences(&expected, &table(&[("a", 1), ("b", 9), ("d", 4)]));
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains("b: total_amount is 9, the log says 2"), "{lines:?}");
        assert!(lines[1].contains("c: the log says") && lines[2].contains("d: the store has"), "{lines:?}");
    }
}
