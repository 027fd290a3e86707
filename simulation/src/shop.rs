//! What is asked of the shop, and what its records say, for both aggregates alike.

use std::sync::Arc;

use commands::{Aggregate, CommandRequest, Decided, Decision, Position};
use domain::ids::{CustomerId, DeliveredQuantity, OrderId, Quantity, ReservationId, Sku, Text};
use domain::money::parse_currency;
use domain::order::{Line, Lines, Order, OrderCommand, UnitPrice};
use domain::stock::{StockCommand, StockItem};
use domain::{Decider, Timestamp};
use eventlog::{Partition, Stored};
use schemas::topics::{COMMAND_REFUSED, COMMAND_UNCHANGED, ORDER, STOCK};
use schemas::wire::log::decode_refusal;
use schemas::{Codec, Contract, Envelope, Refusal};
use uuid::Uuid;

use crate::random::Random;

/// A command of either aggregate.
#[derive(Clone)]
pub(crate) enum Request {
    Order(CommandRequest<Order>),
    Stock(CommandRequest<StockItem>),
}

/// What was decided, in words that compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    Accepted(String),
    Unchanged,
    Refused(String),
}

/// An answer as a client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub position: Position,
    pub version: u64,
    pub word: Word,
}

impl Given {
    pub fn of<E: std::fmt::Debug>(decided: &Decided<E>) -> Self {
        let word = match &decided.decision {
            Decision::Accepted(event) => Word::Accepted(format!("{event:?}")),
            Decision::Unchanged => Word::Unchanged,
            Decision::Refused(refusal) => Word::Refused(refusal.code.clone()),
        };
        Self { position: decided.position, version: decided.version, word }
    }
}

/// State of an aggregate, folded apart from the code that is judged.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Order(Order),
    Stock(StockItem),
}

impl Request {
    pub fn id(&self) -> Uuid {
        match self {
            Self::Order(request) => request.command_id,
            Self::Stock(request) => request.command_id,
        }
    }

    pub fn key(&self) -> &str {
        match self {
            Self::Order(request) => &request.key,
            Self::Stock(request) => &request.key,
        }
    }

    pub fn partition(&self) -> Partition {
        let topic = if matches!(self, Self::Order(_)) { &ORDER } else { &STOCK };
        Partition::of(topic, self.key().as_bytes())
    }

    /// What an owner has to decide on `state` after so many events.
    pub fn right_word(&self, version: u64, state: &State, now: Timestamp) -> Word {
        let expected = match self {
            Self::Order(request) => request.expected_version,
            Self::Stock(request) => request.expected_version,
        };
        if expected.is_some_and(|expected| expected != version) {
            return Word::Refused("version_conflict".to_owned());
        }
        match (self, state) {
            (Self::Order(request), State::Order(order)) => word(order.decide(&request.command, now)),
            (Self::Stock(request), State::Stock(item)) => word(item.decide(&request.command, now)),
            _ => Word::Refused("another aggregate".to_owned()),
        }
    }

    /// One of the commands that are possible for these keys.
    pub fn any(random: &Random, skus: &[Sku], orders: &[OrderId], number: usize) -> Self {
        let id = Uuid::from_u128(random.wide());
        let expected_version = random.per_mille(200).then(|| random.within(0..8));
        if random.per_mille(300) {
            let order_id = orders[random.index(orders.len())];
            return Self::Order(request(id, order_id.to_string(), expected_version, order(random, order_id, skus)));
        }
        let sku = skus[random.index(skus.len())].clone();
        Self::Stock(request(id, sku.to_string(), expected_version, stock(random, sku, number)))
    }
}

fn request<A: Aggregate>(
    id: Uuid,
    key: String,
    expected_version: Option<u64>,
    command: A::Command,
) -> CommandRequest<A> {
    CommandRequest {
        key,
        command_id: id,
        fingerprint: id.as_u128() ^ 1,
        expected_version,
        causation_id: id,
        correlation_id: id,
        traceparent: None,
        command: Arc::new(command),
    }
}

fn order(random: &Random, order_id: OrderId, skus: &[Sku]) -> OrderCommand {
    if random.per_mille(400) {
        return OrderCommand::CancelOrder { order_id, reason: valid(Text::parse("changed my mind")) };
    }
    let line = Line {
        sku: skus[random.index(skus.len())].clone(),
        quantity: valid(Quantity::new(random.within(1..3))),
        unit_price: valid(UnitPrice::new(100)),
    };
    OrderCommand::PlaceOrder {
        order_id,
        customer_id: valid(CustomerId::parse("ana")),
        currency: valid(parse_currency("EUR")),
        lines: valid(Lines::new(vec![line])),
    }
}

fn stock(random: &Random, sku: Sku, number: usize) -> StockCommand {
    // Few reservations by name, so that some meet one that is there.
    let reservation = |many: u64| valid(ReservationId::parse(&format!("r{}", random.within(0..many))));
    match random.within(0..10) {
        0 | 1 => StockCommand::ReceiveStock {
            sku,
            quantity: valid(DeliveredQuantity::new(random.within(1..4))),
            reference: valid(Text::parse(&format!("delivery {number}"))),
        },
        2 | 3 => StockCommand::ReleaseReservation { sku, reservation_id: reservation(12) },
        _ => StockCommand::ReserveStock {
            sku,
            reservation_id: reservation(12),
            quantity: valid(Quantity::new(random.within(1..3))),
        },
    }
}

fn valid<T, E: std::fmt::Debug>(value: Result<T, E>) -> T {
    value.expect("the values above are valid")
}

fn word<E: std::fmt::Debug, R: domain::Rejection>(decided: Result<Option<E>, R>) -> Word {
    match decided {
        Ok(Some(event)) => Word::Accepted(format!("{event:?}")),
        Ok(None) => Word::Unchanged,
        Err(rejection) => Word::Refused(rejection.code().to_owned()),
    }
}

impl State {
    pub fn new(partition: Partition) -> Self {
        if partition.topic == &ORDER { Self::Order(Order::default()) } else { Self::Stock(StockItem::default()) }
    }

    /// What the record says; the state goes on if it is an event.
    ///
    /// # Errors
    /// When it cannot be read, or stock is oversold after it.
    pub fn read(&mut self, codec: &Codec, envelope: &Envelope, stored: &Stored) -> Result<Word, String> {
        let (kind, payload) = (&*envelope.record_type, &*stored.record.payload);
        if kind == COMMAND_UNCHANGED.name {
            return Ok(Word::Unchanged);
        }
        if kind == COMMAND_REFUSED.name {
            let refusal: Refusal = decode_refusal(codec, payload).map_err(|error| error.to_string())?;
            return Ok(Word::Refused(refusal.code));
        }
        match self {
            Self::Order(order) => {
                let event = Order::decode(codec, kind, payload).map_err(|error| error.to_string())?;
                *order = std::mem::take(order).evolve(&event);
                Ok(Word::Accepted(format!("{event:?}")))
            }
            Self::Stock(item) => {
                let event = StockItem::decode(codec, kind, payload).map_err(|error| error.to_string())?;
                *item = std::mem::take(item).evolve(&event);
                if item.reserved() > item.on_hand() {
                    return Err(format!("oversold: {} reserved of {}", item.reserved(), item.on_hand()));
                }
                Ok(Word::Accepted(format!("{event:?}")))
            }
        }
    }
}
