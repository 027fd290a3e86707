//! Logs to replay: written once, by one owner, with the records that Lonja writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use domain::Timestamp;
use domain::ids::{DeliveredQuantity, Quantity, ReservationId, Sku, Text};
use domain::order::{Order, OrderEvent};
use domain::stock::{StockEvent, StockItem};
use eventlog::embedded::EmbeddedLog;
use schemas::topics::{ORDER, STOCK};
use schemas::{Codec, Contract, Topic};
use uuid::Uuid;

use crate::bench::fill::{FIRST_MS, Owner};
use crate::lonja::Lonja;
use crate::order_body::{self, order_id};
use crate::stack::Stack;

/// SKUs that stock events are spread over.
const SKUS: u64 = 200_000;
/// One event in so many cancels an order,
const CANCEL_EVERY: u64 = 10;
/// which was placed so many events before.
const CANCEL_AFTER: u64 = 5_005;

/// Where the log of a topic is.
pub fn log_of(directory: &Path, topic: &Topic) -> PathBuf {
    directory.join(topic.name)
}

/// Writes a log with `events` order events and one with as many stock events.
pub fn logs(directory: &Path, events: u64) -> Result<()> {
    orders(owner(directory, &ORDER)?, events)?;
    let mut stock = owner(directory, &STOCK)?;
    for number in 0..events {
        let (event, sku, version) = stock_event(number)?;
        stock.append(sku, &StockItem::encode(stock.codec(), &event)?, number, version)?;
    }
    stock.finish()
}

/// Writes as many order events into the topic of `stack`, which is made. Returns its name.
pub fn topic(stack: &Stack, events: u64) -> Result<String> {
    let lonja = Lonja::new(None, stack.log_settings()?)?;
    lonja.apply("topics")?;
    lonja.apply("schemas")?;
    orders(Owner::on_kafka(stack, &ORDER)?, events)?;
    Ok(format!("{}{}", stack.topic_prefix, ORDER.name))
}

fn orders(mut owner: Owner, events: u64) -> Result<()> {
    for number in 0..events {
        let (event, version) = order_event(number)?;
        let key = order_of(number, &event).to_string();
        owner.append(key, &Order::encode(owner.codec(), &event)?, number, version)?;
    }
    owner.finish()
}

fn owner(directory: &Path, topic: &'static Topic) -> Result<Owner> {
    // A reader opens all topics.
    let log = EmbeddedLog::open(&log_of(directory, topic), schemas::topics::ALL).context("opening a log")?;
    Owner::claim(Arc::new(log), Codec::local(), topic, 1)
}

fn order_of(number: u64, event: &OrderEvent) -> Uuid {
    match event {
        OrderEvent::OrderPlaced { .. } => order_id(number),
        OrderEvent::OrderCancelled { order_id, .. } => order_id.0,
    }
}

/// The event and the version of its order after it.
fn order_event(number: u64) -> Result<(OrderEvent, u64)> {
    let at = Timestamp(FIRST_MS + i64::try_from(number)?);
    // The number of the order that is cancelled is no multiple of CANCEL_EVERY, so it was placed, and it is met once.
    let cancelled = number.checked_sub(CANCEL_AFTER).filter(|_| number.is_multiple_of(CANCEL_EVERY));
    let placed = |number| order_body::placed(number, order_id(number), at).context("making an order");
    let Some(before) = cancelled else { return Ok((placed(number)?, 1)) };
    let OrderEvent::OrderPlaced { order_id, total, .. } = placed(before)? else { bail!("an order is placed") };
    let reason = Text::parse("changed my mind").context("making a reason")?;
    Ok((OrderEvent::OrderCancelled { order_id, reason, total, cancelled_at: at }, 2))
}

/// Rounds over all SKUs: a delivery of 100, then ten holds of one, and again. The event, its SKU, and the version after it.
fn stock_event(number: u64) -> Result<(StockEvent, String, u64)> {
    let (round, index) = (number / SKUS, number % SKUS);
    // Neighbours in time are no neighbours in the index.
    let name = format!("sku-{:06}", index * 7_919 % SKUS);
    let (deliveries, holds) = (round / 11 + 1, round - round / 11);
    let on_hand = 100 * deliveries;
    let sku = Sku::parse(&name).context("making a SKU")?;
    let event = if round % 11 == 0 {
        StockEvent::StockReceived {
            sku,
            quantity: DeliveredQuantity::new(100).context("making a quantity")?,
            reference: Text::parse(&format!("delivery-{round}")).context("making a reference")?,
            on_hand_after: on_hand,
            available_after: on_hand - holds,
        }
    } else {
        StockEvent::StockReserved {
            sku,
            reservation_id: ReservationId::parse(&format!("hold-{number}")).context("making an id")?,
            quantity: Quantity::new(1).context("making a quantity")?,
            available_after: on_hand - holds,
        }
    };
    Ok((event, name, round + 1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::Decider;

    use super::*;

    #[test]
    fn orders_are_placed_before_they_are_cancelled_and_once() {
        let mut orders: BTreeMap<Uuid, u64> = BTreeMap::new();
        for number in 0..30_000 {
            let (event, version) = order_event(number).unwrap();
            let last = orders.entry(order_of(number, &event)).or_default();
            assert_eq!(version, *last + 1, "event {number}");
            *last = version;
        }
        assert!(orders.values().filter(|version| **version == 2).count() > 2_000);
    }

    #[test]
    fn stock_comes_to_what_the_events_say() {
        let mut item = StockItem::default();
        for round in 0..25 {
            let (event, name, version) = stock_event(round * SKUS + 5).unwrap();
            assert_eq!((name, version), (format!("sku-{:06}", 5 * 7_919), round + 1));
            item = item.evolve(&event);
            let (StockEvent::StockReceived { available_after, .. }
            | StockEvent::StockReserved { available_after, .. }
            | StockEvent::ReservationReleased { available_after, .. }) = event;
            assert_eq!(available_after, item.available(), "round {round}");
        }
    }
}
