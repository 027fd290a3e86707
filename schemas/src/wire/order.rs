//! Events and commands of orders.

use bytes::Bytes;
use domain::Timestamp;
use domain::ids::{CustomerId, OrderId, Quantity, Sku, Text};
use domain::money::{Money, parse_currency};
use domain::order::{Line, Lines, Order, OrderCommand, OrderEvent, UnitPrice};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{COMMAND, number, outside};
use crate::codec::{Codec, CodecError};
use crate::contract::{Contract, Encoded};
use crate::topics::{self, ORDER_CANCELLED, ORDER_PLACED, Topic};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    customer_id: String,
    currency: String,
    total: i64,
    lines: Vec<OrderLine>,
    placed_at: i64,
}

#[derive(Serialize, Deserialize)]
struct OrderLine {
    sku: String,
    quantity: i32,
    unit_price: i64,
}

#[derive(Serialize, Deserialize)]
struct OrderCancelled {
    order_id: String,
    reason: String,
    currency: String,
    total: i64,
    cancelled_at: i64,
}

#[derive(Serialize, Deserialize)]
enum Command {
    PlaceOrder { order_id: String, customer_id: String, currency: String, lines: Vec<OrderLine> },
    CancelOrder { order_id: String, reason: String },
}

impl Contract for Order {
    const TOPIC: &'static Topic = &topics::ORDER;
    const STATE_VERSION: u32 = 1;

    fn command_name(command: &OrderCommand) -> &'static str {
        match command {
            OrderCommand::PlaceOrder { .. } => "PlaceOrder",
            OrderCommand::CancelOrder { .. } => "CancelOrder",
        }
    }

    fn encode_command(command: &OrderCommand) -> Result<Bytes, CodecError> {
        super::json(&match command {
            OrderCommand::PlaceOrder { order_id, customer_id, currency, lines } => Command::PlaceOrder {
                order_id: order_id.to_string(),
                customer_id: customer_id.to_string(),
                currency: currency.code().to_owned(),
                lines: lines.as_slice().iter().map(line_to_wire).collect::<Result<_, _>>()?,
            },
            OrderCommand::CancelOrder { order_id, reason } => {
                Command::CancelOrder { order_id: order_id.to_string(), reason: reason.as_str().to_owned() }
            }
        })
    }

    fn decode_command(json: &[u8]) -> Result<OrderCommand, CodecError> {
        let odd = outside(COMMAND);
        Ok(match serde_json::from_slice(json)? {
            Command::PlaceOrder { order_id: id, customer_id, currency, lines } => OrderCommand::PlaceOrder {
                order_id: order_id(COMMAND, &id)?,
                customer_id: CustomerId::parse(&customer_id).map_err(&odd)?,
                currency: parse_currency(&currency).map_err(&odd)?,
                lines: Lines::new(lines.iter().map(line_from_wire).collect::<Result<_, _>>()?).map_err(&odd)?,
            },
            Command::CancelOrder { order_id: id, reason } => OrderCommand::CancelOrder {
                order_id: order_id(COMMAND, &id)?,
                reason: Text::parse(&reason).map_err(&odd)?,
            },
        })
    }

    fn encode(codec: &Codec, event: &OrderEvent) -> Result<Encoded, CodecError> {
        match event {
            OrderEvent::OrderPlaced { order_id, customer_id, lines, total, placed_at } => {
                let lines = lines.as_slice().iter().map(line_to_wire).collect::<Result<_, _>>()?;
                let wire = OrderPlaced {
                    order_id: order_id.to_string(),
                    customer_id: customer_id.to_string(),
                    currency: total.currency.code().to_owned(),
                    total: total.amount,
                    lines,
                    placed_at: placed_at.0,
                };
                let payload = codec.encode(Self::TOPIC, &ORDER_PLACED, &wire)?;
                Ok(Encoded { record_type: &ORDER_PLACED, payload })
            }
            OrderEvent::OrderCancelled { order_id, reason, total, cancelled_at } => {
                let wire = OrderCancelled {
                    order_id: order_id.to_string(),
                    reason: reason.as_str().to_owned(),
                    currency: total.currency.code().to_owned(),
                    total: total.amount,
                    cancelled_at: cancelled_at.0,
                };
                let payload = codec.encode(Self::TOPIC, &ORDER_CANCELLED, &wire)?;
                Ok(Encoded { record_type: &ORDER_CANCELLED, payload })
            }
        }
    }

    fn decode(codec: &Codec, record_type: &str, payload: &[u8]) -> Result<OrderEvent, CodecError> {
        if record_type == ORDER_PLACED.name {
            placed(codec.decode(&ORDER_PLACED, payload)?)
        } else if record_type == ORDER_CANCELLED.name {
            cancelled(codec.decode(&ORDER_CANCELLED, payload)?)
        } else {
            Err(CodecError::UnknownType(record_type.to_owned()))
        }
    }
}

fn line_to_wire(line: &Line) -> Result<OrderLine, CodecError> {
    Ok(OrderLine {
        sku: line.sku.to_string(),
        quantity: number(ORDER_PLACED.name, line.quantity.get())?,
        unit_price: line.unit_price.get(),
    })
}

fn line_from_wire(wire: &OrderLine) -> Result<Line, CodecError> {
    let odd = outside(ORDER_PLACED.name);
    Ok(Line {
        sku: Sku::parse(&wire.sku).map_err(&odd)?,
        quantity: Quantity::new(number(ORDER_PLACED.name, wire.quantity)?).map_err(&odd)?,
        unit_price: UnitPrice::new(wire.unit_price).map_err(&odd)?,
    })
}

fn order_id(record: &'static str, text: &str) -> Result<OrderId, CodecError> {
    let odd = |_| CodecError::Value { record, detail: format!("order id {text:?} is not a UUID") };
    Uuid::parse_str(text).map(OrderId).map_err(odd)
}

fn placed(wire: OrderPlaced) -> Result<OrderEvent, CodecError> {
    let odd = outside(ORDER_PLACED.name);
    let lines = wire.lines.iter().map(line_from_wire).collect::<Result<_, _>>()?;
    Ok(OrderEvent::OrderPlaced {
        order_id: order_id(ORDER_PLACED.name, &wire.order_id)?,
        customer_id: CustomerId::parse(&wire.customer_id).map_err(&odd)?,
        lines: Lines::new(lines).map_err(&odd)?,
        total: Money { amount: wire.total, currency: parse_currency(&wire.currency).map_err(&odd)? },
        placed_at: Timestamp(wire.placed_at),
    })
}

fn cancelled(wire: OrderCancelled) -> Result<OrderEvent, CodecError> {
    let odd = outside(ORDER_CANCELLED.name);
    Ok(OrderEvent::OrderCancelled {
        order_id: order_id(ORDER_CANCELLED.name, &wire.order_id)?,
        reason: Text::parse(&wire.reason).map_err(&odd)?,
        total: Money { amount: wire.total, currency: parse_currency(&wire.currency).map_err(&odd)? },
        cancelled_at: Timestamp(wire.cancelled_at),
    })
}
