//! Whether log, stores and input say the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::order::OrderEvent;
use schemas::{Codec, topics};
use serde::{Deserialize, Serialize};

use super::Sold;
use crate::baskets::Basket;
use crate::python;
use crate::rule::{Content, Decision, judge};
use crate::stack::Stack;
use crate::stores::Stores;
use crate::tables::{self, ORDER_DETAIL, Table};

/// How long the views may take to come to the end of the log.
const CATCH_UP: Duration = Duration::from_secs(120);

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Checks {
    /// Records of both topics that count.
    pub decisions: usize,
    /// Claims that opened a term.
    pub claims: u64,
    /// Records that do not count.
    pub voids: u64,
    /// Baskets that were answered.
    pub orders_sold: usize,
    /// Of these, how many are in the log once, with the content that was sold.
    pub orders_in_log: usize,
    /// Rows by view.
    pub rows: BTreeMap<&'static str, Rows>,
    /// Totals by the day of the till.
    pub days: Vec<DayTotal>,
    /// Everything that is not as it must be, in words.
    pub differences: Vec<String>,
}

/// Rows of one view.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rows {
    /// In the fold of the log.
    pub expected: usize,
    /// Of these, how many the store has and has alike.
    pub equal: usize,
}

/// The total of one day of the till, from each source, in US cents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DayTotal {
    /// As `2017-01-31`.
    pub day: String,
    /// Baskets.
    pub orders: usize,
    /// From the file of the baskets.
    pub input: i64,
    /// From the log.
    pub log: i64,
    /// From PostgreSQL.
    pub postgres: i64,
    /// From the log, as Python read it with the registry's deserialiser and the rule in SQL; `null` where there is no
    /// Python.
    pub python: Option<i64>,
}

impl DayTotal {
    /// Which sources say what the input says.
    #[must_use]
    pub fn agreement(&self) -> String {
        let sources = [("log", Some(self.log)), ("PostgreSQL", Some(self.postgres)), ("Python", self.python)];
        let agree = sources.into_iter().filter(|(_, total)| *total == Some(self.input)).map(|(name, _)| name);
        agree.collect::<Vec<_>>().join(", ")
    }
}

/// Reads everything and compares.
///
/// # Errors
/// When something cannot be read. What differs is no error but in the answer.
pub async fn check(stack: &Stack, python: Option<&Path>, baskets: &[Basket], sold: &[Sold]) -> Result<Checks> {
    ensure!(baskets.len() == sold.len(), "{} baskets and {} answers", baskets.len(), sold.len());
    let codec = Codec::connect(stack.registry()?, &stack.topic_prefix).await.context("asking the schema registry")?;
    let mut checks = Checks { orders_sold: sold.len(), ..Checks::default() };
    let mut decisions = Vec::new();
    let mut ends = BTreeMap::new();
    for topic in topics::ALL {
        let log = crate::log_reader::read(stack.kafka()?, &stack.topic_prefix, topic)?;
        ends.extend(log.ends.iter().map(|(partition, end)| ((topic.name.to_owned(), *partition), *end)));
        let judged = judge(&log, &codec)?;
        checks.claims += judged.claims;
        checks.voids += judged.voids;
        decisions.extend(judged.decisions);
    }
    checks.decisions = decisions.len();
    let placed = placed(&decisions);
    orders_once(&mut checks, &placed, baskets, sold);

    let stores = Stores::connect(stack).await?;
    stores.caught_up(&ends, CATCH_UP).await?;
    let found = stores.tables().await?;
    let expected = tables::fold(&decisions);
    let none = Table::new();
    for (view, rows) in &expected {
        let other = found.get(view).unwrap_or(&none);
        let equal = rows.iter().filter(|(key, row)| other.get(*key) == Some(row)).count();
        checks.rows.insert(view, Rows { expected: rows.len(), equal });
    }
    checks.differences.extend(tables::differences(&expected, &found));

    let read = python.map(|python| by_python(stack, python, baskets, sold)).transpose()?;
    days(&mut checks, &placed, found.get(ORDER_DETAIL).unwrap_or(&none), read.as_ref(), baskets, sold);
    Ok(checks)
}

/// Orders placed, by id; all of them, should one be there twice.
fn placed(decisions: &[Decision]) -> BTreeMap<String, Vec<&OrderEvent>> {
    let mut placed: BTreeMap<String, Vec<&OrderEvent>> = BTreeMap::new();
    for decision in decisions {
        if let Content::Order(event @ OrderEvent::OrderPlaced { order_id, .. }) = &decision.content {
            placed.entry(order_id.to_string()).or_default().push(event);
        }
    }
    placed
}

fn orders_once(checks: &mut Checks, placed: &BTreeMap<String, Vec<&OrderEvent>>, baskets: &[Basket], sold: &[Sold]) {
    for (basket, sold) in baskets.iter().zip(sold) {
        match placed.get(&sold.order_id.to_string()).map(Vec::as_slice) {
            Some([event]) if says(event, basket) => checks.orders_in_log += 1,
            Some([_]) => checks
                .differences
                .push(format!("order {}: the log has other content than basket {}", sold.order_id, basket.id)),
            Some(events) => {
                checks.differences.push(format!("order {}: {} times in the log", sold.order_id, events.len()))
            }
            None => checks.differences.push(format!("order {}: answered, but not in the log", sold.order_id)),
        }
    }
}

fn says(event: &OrderEvent, basket: &Basket) -> bool {
    let OrderEvent::OrderPlaced { customer_id, lines, total, .. } = event else { return false };
    let lines = lines.as_slice();
    customer_id.as_str() == format!("household-{}", basket.household)
        && (total.amount, total.currency.code()) == (basket.total(), "USD")
        && lines.len() == basket.lines.len()
        && lines.iter().zip(&basket.lines).all(|(line, bought)| {
            line.sku.as_str() == format!("product-{}", bought.product)
                && line.quantity.get() == bought.quantity
                && line.unit_price.get() == bought.unit_price
        })
}

fn days(
    checks: &mut Checks,
    placed: &BTreeMap<String, Vec<&OrderEvent>>,
    stored: &Table,
    python: Option<&BTreeMap<String, i64>>,
    baskets: &[Basket],
    sold: &[Sold],
) {
    let mut days: BTreeMap<&str, DayTotal> = BTreeMap::new();
    for (basket, sold) in baskets.iter().zip(sold) {
        let day = days.entry(&basket.day).or_insert_with(|| DayTotal {
            day: basket.day.clone(),
            orders: 0,
            input: 0,
            log: 0,
            postgres: 0,
            python: python.map(|days| days.get(&basket.day).copied().unwrap_or(0)),
        });
        let id = sold.order_id.to_string();
        let in_log = placed.get(&id).into_iter().flatten().map(|event| match event {
            OrderEvent::OrderPlaced { total, .. } | OrderEvent::OrderCancelled { total, .. } => total.amount,
        });
        day.orders += 1;
        day.input += basket.total();
        day.log += in_log.sum::<i64>();
        day.postgres += stored.get(&id).and_then(|row| row["total_amount"].as_i64()).unwrap_or(0);
    }
    for day in days.into_values() {
        let others = [Some(day.log), Some(day.postgres), day.python];
        if others.into_iter().flatten().any(|total| total != day.input) {
            let DayTotal { day, input, log, postgres, python, .. } = &day;
            let python = python.map_or_else(String::new, |total| format!(", Python {total}"));
            checks.differences.push(format!("day {day}: input {input}, log {log}, PostgreSQL {postgres}{python}"));
        }
        checks.days.push(day);
    }
}

#[derive(Deserialize)]
struct PythonTotals {
    days: Vec<PythonDay>,
}

#[derive(Deserialize)]
struct PythonDay {
    day: String,
    total: i64,
}

/// Totals by the day of the till, as the Python reader finds them.
fn by_python(stack: &Stack, python: &Path, baskets: &[Basket], sold: &[Sold]) -> Result<BTreeMap<String, i64>> {
    let mut lines: Vec<String> =
        baskets.iter().zip(sold).map(|(basket, sold)| format!("{}\t{}\n", sold.order_id, basket.day)).collect();
    lines.sort();
    let file = tempfile::NamedTempFile::new().context("making a file for the days")?;
    fs::write(file.path(), lines.concat()).context("writing the days")?;
    let topic = format!("{}{}", stack.topic_prefix, topics::ORDER.name);
    let (kafka, registry) = (stack.kafka()?, stack.registry()?);
    let arguments = ["--kafka", kafka, "--registry", registry, "--topic", &topic, "--rule", "--days"];
    let mut arguments: Vec<_> = arguments.iter().map(std::ffi::OsStr::new).collect();
    arguments.push(file.path().as_os_str());
    let printed = python::run(python, "read_orders.py", &arguments)?;
    let totals: PythonTotals = serde_json::from_str(&printed).context("reading what Python found")?;
    Ok(totals.days.into_iter().map(|day| (day.day, day.total)).collect())
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use domain::ids::{CustomerId, OrderId, Quantity, Sku};
    use domain::money::{Currency, Money};
    use domain::order::{Line, Lines, UnitPrice};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::baskets::BasketLine;

    fn basket(unit_price: i64) -> Basket {
        let lines = vec![BasketLine { product: 7, quantity: 2, unit_price }];
        Basket { id: 1, household: 9, day: "2017-01-01".into(), lines }
    }

    fn event() -> OrderEvent {
        let line = Line {
            sku: Sku::parse("product-7").unwrap(),
            quantity: Quantity::new(2).unwrap(),
            unit_price: UnitPrice::new(50).unwrap(),
        };
        OrderEvent::OrderPlaced {
            order_id: OrderId(Uuid::nil()),
            customer_id: CustomerId::parse("household-9").unwrap(),
            lines: Lines::new(vec![line]).unwrap(),
            total: Money { amount: 100, currency: Currency::USD },
            placed_at: Timestamp(0),
        }
    }

    fn differences(events: &[&OrderEvent], basket: Basket, stored_total: i64) -> Vec<String> {
        let id = Uuid::nil().to_string();
        let placed = BTreeMap::from([(id.clone(), events.to_vec())]);
        let stored = Table::from([(id, json!({"total_amount": stored_total}))]);
        let sold = [Sold { order_id: Uuid::nil(), total: 100, replayed: false }];
        let mut checks = Checks::default();
        let baskets = [basket];
        orders_once(&mut checks, &placed, &baskets, &sold);
        days(&mut checks, &placed, &stored, None, &baskets, &sold);
        checks.differences
    }

    #[test]
    fn a_sale_that_is_as_it_was_sold_differs_in_nothing() {
        assert_eq!(differences(&[&event()], basket(50), 100), Vec::<String>::new());
    }

    #[test]
    fn a_lost_a_doubled_and_a_changed_order_are_told() {
        let (event, told) = (event(), |found: Vec<String>, what: &str| assert!(found[0].contains(what), "{found:?}"));
        told(differences(&[], basket(50), 100), "0 times in the log");
        told(differences(&[&event, &event], basket(50), 100), "2 times in the log");
        told(differences(&[&event], basket(51), 100), "other content");
        told(differences(&[&event], basket(50), 99), "PostgreSQL 99");
    }
}
