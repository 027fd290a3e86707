//! Each kind of record: what is written is read, and it is always written the same.
//!
//! The bytes here are those of the first release. A change of them means that the log's past is read with other eyes:
//! add a case, never change one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::ids::{CustomerId, DeliveredQuantity, OrderId, Quantity, ReservationId, Sku, Text};
use domain::money::{Money, parse_currency};
use domain::order::{Line, Lines, Order, OrderEvent, UnitPrice};
use domain::stock::{ON_HAND_MAX, StockEvent, StockItem};
use lonja_schemas::topics::{ALL, COMMAND_REFUSED, ORDER, TERM_STARTED};
use lonja_schemas::wire::log;
use lonja_schemas::{Codec, CodecError, Contract, Encoded, Refusal, Term};
use uuid::Uuid;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Encodes, compares with what is recorded, and decodes again.
#[track_caller]
fn check<A: Contract>(event: &A::Event, name: &str, golden: &str)
where
    A::Event: PartialEq + std::fmt::Debug,
{
    let codec = Codec::local();
    let Encoded { record_type, payload } = A::encode(&codec, event).unwrap();
    assert_eq!(record_type.name, name);
    assert_eq!(&A::decode(&codec, name, &payload).unwrap(), event);
    assert_eq!(hex(&payload), golden, "{name} is written in other bytes");
}

fn line(sku: &str, quantity: u64, unit_price: i64) -> Line {
    Line {
        sku: Sku::parse(sku).unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
        unit_price: UnitPrice::new(unit_price).unwrap(),
    }
}

fn order_id() -> OrderId {
    OrderId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef))
}

fn euros(amount: i64) -> Money {
    Money { amount, currency: parse_currency("EUR").unwrap() }
}

fn placed(lines: Vec<Line>, total: i64) -> OrderEvent {
    OrderEvent::OrderPlaced {
        order_id: order_id(),
        customer_id: CustomerId::parse("customer-7").unwrap(),
        lines: Lines::new(lines).unwrap(),
        total: euros(total),
        placed_at: Timestamp(1_700_000_000_123),
    }
}

fn sku() -> Sku {
    Sku::parse("SKU-1").unwrap()
}

#[test]
fn an_order_placed() {
    let event = placed(vec![line("SKU-1", 2, 1_250), line("SKU-2", 9_999, 0)], 2_500);
    check::<Order>(
        &event,
        "lonja.order.OrderPlaced",
        "00a7d3292c4830313233343536372d383961622d636465662d303132332d3435363738396162636465661463\
         7573746f6d65722d37064555528827040a534b552d3104c4130a534b552d329e9c010000f6a1abfef962",
    );
}

#[test]
fn an_order_cancelled() {
    let event = OrderEvent::OrderCancelled {
        order_id: order_id(),
        reason: Text::parse("changed my mind – señor").unwrap(),
        total: euros(2_500),
        cancelled_at: Timestamp(1_700_000_000_456),
    };
    check::<Order>(
        &event,
        "lonja.order.OrderCancelled",
        "001884d9bb4830313233343536372d383961622d636465662d303132332d3435363738396162636465663463\
         68616e676564206d79206d696e6420e28093207365c3b16f7206455552882790a7abfef962",
    );
}

#[test]
fn stock_received() {
    let event = StockEvent::StockReceived {
        sku: sku(),
        quantity: DeliveredQuantity::new(500).unwrap(),
        reference: Text::parse("delivery 17").unwrap(),
        on_hand_after: ON_HAND_MAX,
        available_after: 499,
    };
    check::<StockItem>(
        &event,
        "lonja.stock.StockReceived",
        "00d4e74e570a534b552d31e8071664656c6976657279203137feffffffffffff1fe607",
    );
}

#[test]
fn stock_reserved() {
    let event = StockEvent::StockReserved {
        sku: sku(),
        reservation_id: ReservationId::parse("basket-9").unwrap(),
        quantity: Quantity::new(1).unwrap(),
        available_after: 0,
    };
    check::<StockItem>(&event, "lonja.stock.StockReserved", "00d347180e0a534b552d31106261736b65742d390200");
}

#[test]
fn a_reservation_released() {
    let event = StockEvent::ReservationReleased {
        sku: sku(),
        reservation_id: ReservationId::parse("basket-9").unwrap(),
        quantity: Quantity::new(1).unwrap(),
        available_after: 1,
    };
    check::<StockItem>(&event, "lonja.stock.ReservationReleased", "007af321fe0a534b552d31106261736b65742d390202");
}

#[test]
fn records_of_the_log_itself() {
    let codec = Codec::local();
    let claim = log::encode_claim(&codec, &ORDER, Term { number: 7, nonce: u128::MAX - 1 }, "node-1").unwrap();
    assert_eq!(
        hex(&claim),
        "00c317b8a20e4066666666666666666666666666666666666666666666666666666666666666650c6e6f64652d31"
    );
    let unchanged = log::encode_unchanged(&codec, &ORDER, "CancelOrder").unwrap();
    assert_eq!(hex(&unchanged.payload), "00eac542641643616e63656c4f72646572");
    let refusal = Refusal {
        command: "ReserveStock".into(),
        code: "out_of_stock".into(),
        detail: "only 3 are available".into(),
        facts: BTreeMap::from([("available".into(), 3), ("requested".into(), i64::MAX)]),
    };
    let refused = log::encode_refusal(&codec, &ORDER, &refusal).unwrap();
    assert_eq!(log::decode_refusal(&codec, &refused.payload).unwrap(), refusal);
    assert_eq!(
        hex(&refused.payload),
        "008593ede5185265736572766553746f636b186f75745f6f665f73746f636b286f6e6c7920332061726520617661696c61626c650412617661696c61626c650612726571756573746564feffffffffffffffff0100"
    );
}

#[test]
fn extremes_are_read_as_they_were_written() {
    let codec = Codec::local();
    let many = vec![line(&"S".repeat(64), 9_999, i64::from(u32::MAX)); Lines::MAX];
    for event in [placed(many, i64::MAX), placed(vec![line("s", 1, 0)], 0)] {
        let Encoded { record_type, payload } = Order::encode(&codec, &event).unwrap();
        assert_eq!(Order::decode(&codec, record_type.name, &payload).unwrap(), event);
    }
}

#[test]
fn what_is_not_a_payload_is_an_error_and_no_panic() {
    let codec = Codec::local();
    let event = placed(vec![line("SKU-1", 2, 1_250)], 2_500);
    let Encoded { record_type, payload } = Order::encode(&codec, &event).unwrap();
    let decode = |bytes: &[u8]| Order::decode(&codec, record_type.name, bytes);
    for length in 0..payload.len() {
        assert!(decode(&payload[..length]).is_err(), "{length} bytes of {}", payload.len());
    }
    for at in 0..payload.len() {
        let mut damaged = payload.to_vec();
        damaged[at] ^= 0xff;
        // Whatever it says, it is said without a panic.
        let _ = decode(&damaged);
    }
    assert!(matches!(decode(b"\x01\0\0\0\0rest"), Err(CodecError::Framing)));
    assert!(matches!(decode(b"\0\0\0\0\0rest"), Err(CodecError::Schema { id: 0, .. })));
    let other = Order::decode(&codec, "lonja.order.OrderCancelled", &payload);
    assert!(matches!(other, Err(CodecError::UnknownType(_))), "a schema is read only as what it is: {other:?}");
    let foreign = Order::decode(&codec, "lonja.stock.StockReserved", &payload);
    assert!(matches!(foreign, Err(CodecError::UnknownType(_))));
}

#[test]
fn a_record_type_has_one_schema_on_all_topics() {
    let mut schemas = BTreeMap::new();
    for record in ALL.iter().flat_map(|topic| topic.records) {
        assert_eq!(*schemas.entry(record.name).or_insert(record.schema), record.schema);
    }
    assert!(schemas.contains_key(TERM_STARTED.name) && schemas.contains_key(COMMAND_REFUSED.name));
}
