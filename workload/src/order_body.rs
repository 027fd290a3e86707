//! The order that the benches send: fixed but for the customer, realistic in size, rendered without serde.

use std::fmt::Write as _;

use bytes::Bytes;
use domain::Timestamp;
use domain::ids::{CustomerId, OrderId, Quantity, Sku};
use domain::money::Currency;
use domain::order::{Line, Lines, OrderEvent, UnitPrice};
use uuid::Uuid;

/// SKU, quantity, price of one unit in minor units.
const LINES: [(&str, u64, i64); 3] =
    [("tea-assam-250", 2, 749), ("cup-stoneware-03", 1, 1_290), ("honey-heather-500", 3, 885)];

/// Digits of a customer's number: bodies and records have one size.
const CUSTOMER_DIGITS: usize = 7;

/// Renders bodies of `POST /v1/orders`.
pub struct OrderBodies {
    tail: String,
}

impl OrderBodies {
    /// Prepares what does not change.
    #[must_use]
    pub fn new() -> Self {
        let mut tail = String::from(r#"","currency":"EUR","lines":["#);
        for (at, (sku, quantity, unit_price)) in LINES.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(tail, r#"{comma}{{"sku":"{sku}","quantity":{quantity},"unit_price":{unit_price}}}"#);
        }
        tail.push_str("]}");
        Self { tail }
    }

    /// The body of the order of customer `number`.
    #[must_use]
    pub fn render(&self, number: u64) -> Bytes {
        let mut body = String::with_capacity(self.tail.len() + 48);
        body.push_str(r#"{"customer_id":""#);
        body.push_str(&customer(number));
        body.push_str(&self.tail);
        body.into()
    }
}

impl Default for OrderBodies {
    fn default() -> Self {
        Self::new()
    }
}

/// The id of the `number`-th order of a log that a bench fills: spread over the index as random ids are.
#[must_use]
pub fn order_id(number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes())
}

fn customer(number: u64) -> String {
    format!("customer-{:0CUSTOMER_DIGITS$}", number % 10_u64.pow(CUSTOMER_DIGITS as u32))
}

/// The event that becomes of such an order.
///
/// # Errors
/// Never in practice: the constants of this file are values that the domain accepts, which a test shows.
pub fn placed(number: u64, order_id: Uuid, placed_at: Timestamp) -> Result<OrderEvent, domain::ids::InvalidValue> {
    let line = |&(sku, quantity, unit_price): &(&str, u64, i64)| {
        Ok(Line { sku: Sku::parse(sku)?, quantity: Quantity::new(quantity)?, unit_price: UnitPrice::new(unit_price)? })
    };
    let lines = Lines::new(LINES.iter().map(line).collect::<Result<_, _>>()?)?;
    let total = lines
        .total(Currency::EUR)
        .ok_or_else(|| domain::ids::InvalidValue { code: "out_of_range", detail: "the total does not fit".into() })?;
    Ok(OrderEvent::OrderPlaced {
        order_id: OrderId(order_id),
        customer_id: CustomerId::parse(&customer(number))?,
        lines,
        total,
        placed_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_json_of_the_event() {
        let body: serde_json::Value = serde_json::from_slice(&OrderBodies::new().render(42)).unwrap();
        let OrderEvent::OrderPlaced { customer_id, lines, total, .. } = placed(42, Uuid::nil(), Timestamp(0)).unwrap()
        else {
            unreachable!()
        };
        assert_eq!(body["customer_id"], customer_id.as_str());
        assert_eq!(body["lines"].as_array().unwrap().len(), lines.as_slice().len());
        assert_eq!(body["lines"][2]["unit_price"], 885);
        assert_eq!(total.amount, 2 * 749 + 1_290 + 3 * 885);
    }
}
