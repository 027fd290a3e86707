//! Events for the tests of folds.

use std::borrow::Cow;

use domain::Timestamp;
use domain::ids::{CustomerId, DeliveredQuantity, OrderId, Quantity, ReservationId, Sku, Text};
use domain::money::{Currency, Money};
use domain::order::{Line, Lines, OrderEvent, UnitPrice};
use domain::stock::StockEvent;
use eventlog::Partition;
use schemas::topics::{self, RecordType, Topic};
use schemas::{Envelope, Term};
use uuid::Uuid;

use crate::view::Recorded;

fn record<E>(topic: &'static Topic, record: &RecordType, subject: &str, version: u64, event: E) -> Recorded<E> {
    let envelope = Envelope {
        id: Uuid::from_u128(u128::from(version)),
        record_type: Cow::Borrowed(record.name),
        subject: subject.to_owned(),
        time: Timestamp(1_700_000_000_000),
        term: Term { number: 1, nonce: 7 },
        sequence: version,
        version,
        fingerprint: 0,
        causation_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        traceparent: None,
    };
    Recorded {
        partition: Partition { topic, number: 3 },
        offset: version,
        envelope: envelope.into(),
        event: event.into(),
    }
}

fn total() -> Money {
    Money { amount: 700, currency: Currency::EUR }
}

pub fn placed(customer: &str, at: i64) -> Recorded<OrderEvent> {
    let line = Line { sku: sku(), quantity: Quantity::new(2).unwrap(), unit_price: UnitPrice::new(350).unwrap() };
    record(
        &topics::ORDER,
        &topics::ORDER_PLACED,
        "order/0",
        1,
        OrderEvent::OrderPlaced {
            order_id: OrderId(Uuid::nil()),
            customer_id: CustomerId::parse(customer).unwrap(),
            lines: Lines::new(vec![line]).unwrap(),
            total: total(),
            placed_at: Timestamp(at),
        },
    )
}

pub fn cancelled() -> Recorded<OrderEvent> {
    record(
        &topics::ORDER,
        &topics::ORDER_CANCELLED,
        "order/0",
        2,
        OrderEvent::OrderCancelled {
            order_id: OrderId(Uuid::nil()),
            reason: Text::parse("late").unwrap(),
            total: total(),
            cancelled_at: Timestamp(9),
        },
    )
}

fn sku() -> Sku {
    Sku::parse("tea").unwrap()
}

pub fn received(quantity: u64, on_hand_after: u64, available_after: u64) -> Recorded<StockEvent> {
    record(
        &topics::STOCK,
        &topics::STOCK_RECEIVED,
        "stock/tea",
        1,
        StockEvent::StockReceived {
            sku: sku(),
            quantity: DeliveredQuantity::new(quantity).unwrap(),
            reference: Text::parse("d1").unwrap(),
            on_hand_after,
            available_after,
        },
    )
}

pub fn reserved(id: &str, quantity: u64, available_after: u64) -> Recorded<StockEvent> {
    record(
        &topics::STOCK,
        &topics::STOCK_RESERVED,
        "stock/tea",
        2,
        StockEvent::StockReserved {
            sku: sku(),
            reservation_id: ReservationId::parse(id).unwrap(),
            quantity: Quantity::new(quantity).unwrap(),
            available_after,
        },
    )
}

pub fn released(id: &str, quantity: u64, available_after: u64) -> Recorded<StockEvent> {
    record(
        &topics::STOCK,
        &topics::RESERVATION_RELEASED,
        "stock/tea",
        3,
        StockEvent::ReservationReleased {
            sku: sku(),
            reservation_id: ReservationId::parse(id).unwrap(),
            quantity: Quantity::new(quantity).unwrap(),
            available_after,
        },
    )
}
