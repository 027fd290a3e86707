//! Histories and logs for the tests of the verifier.

use domain::Timestamp;
use domain::ids::{CustomerId, DeliveredQuantity, OrderId, Quantity, ReservationId, Sku, Text};
use domain::money::{Currency, Money};
use domain::order::{Line, Lines, OrderEvent, UnitPrice};
use domain::stock::StockEvent;
use schemas::topics::{ORDER, ORDER_PLACED, STOCK};
use schemas::{Envelope, Refusal, Term};
use serde_json::json;
use uuid::Uuid;

use crate::history::{Attempt, Outcome, command_id};
use crate::rule::{Content, Decision};

/// An order of 2 units that was answered with yes.
pub fn attempt(key: &str) -> Attempt {
    let partition = ORDER.partition_of(Uuid::nil().to_string().as_bytes());
    Attempt {
        key: key.to_owned(),
        method: "POST".into(),
        path: "/v1/orders".into(),
        request: json!({"customer_id": "ann", "currency": "EUR", "lines": [{"sku": "tea", "quantity": 2, "unit_price": 50}]}),
        token: None,
        outcome: Outcome::Ok,
        status: Some(201),
        body: json!({"id": Uuid::nil(), "version": 1, "status": "placed"}).to_string(),
        position: Some(format!("order.events/{partition}@0")),
        replayed: false,
        sent_ms: 0,
        ended_ms: 1,
    }
}

pub fn placed(quantity: u64) -> Content {
    let line = Line {
        sku: Sku::parse("tea").unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
        unit_price: UnitPrice::new(50).unwrap(),
    };
    Content::Order(OrderEvent::OrderPlaced {
        order_id: OrderId(Uuid::nil()),
        customer_id: CustomerId::parse("ann").unwrap(),
        total: Money { amount: 50 * i64::try_from(quantity).unwrap(), currency: Currency::EUR },
        lines: Lines::new(vec![line]).unwrap(),
        placed_at: Timestamp(0),
    })
}

/// The decision on the command of `key`, version 1 of the order.
pub fn decision(key: &str, offset: u64, content: Content) -> Decision {
    let id = Uuid::nil().to_string();
    let envelope = envelope(command_id(key), format!("order/{id}"), 1);
    Decision { topic: &ORDER, partition: ORDER.partition_of(id.as_bytes()), offset, key: id, envelope, content }
}

/// Decisions on the SKU `tea`, with versions as they should be.
pub fn stock(contents: &[Content]) -> Vec<Decision> {
    let mut version = 0;
    let one = |(offset, content): (u64, &Content)| {
        version += u64::from(matches!(content, Content::Stock(_)));
        let envelope = envelope(Uuid::from_u128(u128::from(offset)), "stock/tea".into(), version);
        let partition = STOCK.partition_of(b"tea");
        Decision { topic: &STOCK, partition, offset, key: "tea".into(), envelope, content: content.clone() }
    };
    (0..).zip(contents).map(one).collect()
}

pub fn received(quantity: u64, on_hand_after: u64, available_after: u64) -> Content {
    Content::Stock(StockEvent::StockReceived {
        sku: Sku::parse("tea").unwrap(),
        quantity: DeliveredQuantity::new(quantity).unwrap(),
        reference: Text::parse("d").unwrap(),
        on_hand_after,
        available_after,
    })
}

pub fn reserved(id: &str, quantity: u64, available_after: u64) -> Content {
    Content::Stock(StockEvent::StockReserved {
        sku: Sku::parse("tea").unwrap(),
        reservation_id: ReservationId::parse(id).unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
        available_after,
    })
}

pub fn released(id: &str, quantity: u64, available_after: u64) -> Content {
    Content::Stock(StockEvent::ReservationReleased {
        sku: Sku::parse("tea").unwrap(),
        reservation_id: ReservationId::parse(id).unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
        available_after,
    })
}

pub fn refused(requested: i64, available: i64) -> Content {
    Content::Refused(Refusal {
        command: "ReserveStock".into(),
        code: "out_of_stock".into(),
        detail: "none left".into(),
        facts: [("requested".to_owned(), requested), ("available".to_owned(), available)].into(),
    })
}

fn envelope(id: Uuid, subject: String, version: u64) -> Envelope {
    Envelope {
        id,
        record_type: ORDER_PLACED.name.into(),
        subject,
        time: Timestamp(0),
        term: Term { number: 1, nonce: 1 },
        sequence: 1,
        version,
        fingerprint: 0,
        causation_id: id,
        correlation_id: id,
        traceparent: None,
    }
}
