//! The order as cqrs-es wants it: command, event, aggregate, and the one view.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent, EventEnvelope, View};
use serde::{Deserialize, Serialize};

/// The only command.
pub enum OrderCommand {
    Place { customer_id: String, currency: String, lines: Vec<Line> },
}

/// One position, prices in minor units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: u32,
    pub unit_price: i64,
}

/// The only event, with the same content as Lonja's `OrderPlaced`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderEvent {
    Placed { customer_id: String, currency: String, lines: Vec<Line>, total: i64 },
}

impl DomainEvent for OrderEvent {
    fn event_type(&self) -> String {
        "OrderPlaced".into()
    }

    fn event_version(&self) -> String {
        "1".into()
    }
}

/// Why an order says no.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("the order exists")]
    Exists,
    #[error("an order has 1 to 200 lines of 1 to 9999 units")]
    Invalid,
    #[error("the total does not fit")]
    Overflow,
}

/// State: an order is placed once.
#[derive(Default, Serialize, Deserialize)]
pub struct Order {
    placed: bool,
}

impl Aggregate for Order {
    const TYPE: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = OrderError;
    type Services = ();

    async fn handle(&mut self, command: OrderCommand, (): &(), sink: &EventSink<Self>) -> Result<(), OrderError> {
        let OrderCommand::Place { customer_id, currency, lines } = command;
        if self.placed {
            return Err(OrderError::Exists);
        }
        if !(1..=200).contains(&lines.len()) || lines.iter().any(|line| !(1..=9_999).contains(&line.quantity)) {
            return Err(OrderError::Invalid);
        }
        let total = lines
            .iter()
            .try_fold(0_i64, |sum, line| sum.checked_add(line.unit_price.checked_mul(i64::from(line.quantity))?))
            .ok_or(OrderError::Overflow)?;
        sink.write(OrderEvent::Placed { customer_id, currency, lines, total }, self).await;
        Ok(())
    }

    fn apply(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::Placed { .. } => self.placed = true,
        }
    }
}

/// What a page about one order shows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct OrderView {
    pub status: String,
    pub customer_id: String,
    pub currency: String,
    pub lines: Vec<Line>,
    pub total: i64,
}

impl View<Order> for OrderView {
    fn update(&mut self, event: &EventEnvelope<Order>) {
        let OrderEvent::Placed { customer_id, currency, lines, total } = &event.payload;
        *self = Self {
            status: "placed".into(),
            customer_id: customer_id.clone(),
            currency: currency.clone(),
            lines: lines.clone(),
            total: *total,
        };
    }
}
