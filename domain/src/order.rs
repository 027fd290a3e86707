//! An order.
//!
//! 1. It is placed once; its total is the checked sum of its lines, recomputed here and never taken from a caller.
//! 2. It has 1..=200 lines in one currency.
//! 3. Cancelled is final, and cancelling twice changes nothing.

use serde::{Deserialize, Serialize};

use crate::decider::{self, Decider, Timestamp};
use crate::ids::{CustomerId, InvalidValue, OrderId, Quantity, Sku, Text};
use crate::money::{Currency, Money};

/// What may be asked of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderCommand {
    /// Place a new order.
    PlaceOrder {
        /// The new order's id; whoever sends the command derives it from the command's id.
        order_id: OrderId,
        /// Who buys.
        customer_id: CustomerId,
        /// The only currency of the order.
        currency: Currency,
        /// What is bought, at the prices that the shopper saw.
        lines: Lines,
    },
    /// Cancel an order.
    CancelOrder {
        /// Which one.
        order_id: OrderId,
        /// Why, in the words of whoever cancels.
        reason: Text,
    },
}

/// What may happen to an order. The names are the storage format: version with care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderEvent {
    /// The order was placed.
    OrderPlaced {
        /// Its id.
        order_id: OrderId,
        /// Who bought.
        customer_id: CustomerId,
        /// What was bought.
        lines: Lines,
        /// Sum of the lines.
        total: Money,
        /// When.
        placed_at: Timestamp,
    },
    /// The order was cancelled.
    OrderCancelled {
        /// Its id.
        order_id: OrderId,
        /// Why.
        reason: Text,
        /// What the order was worth.
        total: Money,
        /// When.
        cancelled_at: Timestamp,
    },
}

/// Why an order says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRejection {
    /// No such order.
    #[error("there is no such order")]
    NotFound,
    /// The id is taken by an order with other content.
    #[error("an order with this id and other content exists")]
    AlreadyPlaced,
    /// The total does not fit.
    #[error("the order's total exceeds what can be represented")]
    AmountOverflow,
}

impl decider::Rejection for OrderRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "order_not_found",
            Self::AlreadyPlaced => "order_already_placed",
            Self::AmountOverflow => "amount_overflow",
        }
    }
}

/// One position of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: Quantity,
    /// Price of one unit in minor units of the order's currency, 0 or more.
    pub unit_price: UnitPrice,
}

/// Price of one unit in minor units: 0 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitPrice(i64);

impl UnitPrice {
    /// Accepts 0..=`i64::MAX`.
    ///
    /// # Errors
    /// `out_of_range` for a negative price.
    pub fn new(minor_units: i64) -> Result<Self, InvalidValue> {
        if minor_units < 0 {
            return Err(InvalidValue { code: "out_of_range", detail: "a price is not negative".into() });
        }
        Ok(Self(minor_units))
    }

    /// Minor units.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

/// The lines of an order: 1..=200 of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// Most lines of one order.
    pub const MAX: usize = 200;

    /// Accepts 1..=200 lines.
    ///
    /// # Errors
    /// `invalid_length` otherwise.
    pub fn new(lines: Vec<Line>) -> Result<Self, InvalidValue> {
        if lines.is_empty() || lines.len() > Self::MAX {
            let detail = format!("an order has 1 to {} lines", Self::MAX);
            return Err(InvalidValue { code: "invalid_length", detail });
        }
        Ok(Self(lines))
    }

    /// The lines in the order in which they were given.
    #[must_use]
    pub fn as_slice(&self) -> &[Line] {
        &self.0
    }

    /// Sum over quantity times price, or `None` when it does not fit.
    #[must_use]
    pub fn total(&self, currency: Currency) -> Option<Money> {
        self.0.iter().try_fold(Money::zero(currency), |sum, line| {
            let price = Money { amount: line.unit_price.get(), currency };
            sum.checked_add(price.checked_mul(line.quantity.get())?)
        })
    }
}

/// The state of an order: only what later decisions need.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Order {
    /// Not placed yet.
    #[default]
    Absent,
    /// Placed and not cancelled.
    Placed {
        /// Who bought.
        customer_id: CustomerId,
        /// What was bought.
        lines: Lines,
        /// Sum of the lines.
        total: Money,
    },
    /// Cancelled for good.
    Cancelled,
}

impl Decider for Order {
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Rejection = OrderRejection;

    fn decide(&self, command: &OrderCommand, now: Timestamp) -> Result<Option<OrderEvent>, OrderRejection> {
        match command {
            OrderCommand::PlaceOrder { order_id, customer_id, currency, lines } => {
                self.place(*order_id, customer_id, *currency, lines, now)
            }
            OrderCommand::CancelOrder { order_id, reason } => self.cancel(*order_id, reason, now),
        }
    }

    fn evolve(self, event: &OrderEvent) -> Self {
        match event {
            OrderEvent::OrderPlaced { customer_id, lines, total, .. } => {
                Self::Placed { customer_id: customer_id.clone(), lines: lines.clone(), total: *total }
            }
            OrderEvent::OrderCancelled { .. } => Self::Cancelled,
        }
    }
}

impl Order {
    fn place(
        &self,
        order_id: OrderId,
        customer_id: &CustomerId,
        currency: Currency,
        lines: &Lines,
        now: Timestamp,
    ) -> Result<Option<OrderEvent>, OrderRejection> {
        match self {
            Self::Absent => Ok(Some(OrderEvent::OrderPlaced {
                order_id,
                customer_id: customer_id.clone(),
                lines: lines.clone(),
                total: lines.total(currency).ok_or(OrderRejection::AmountOverflow)?,
                placed_at: now,
            })),
            Self::Placed { customer_id: buyer, lines: bought, total }
                if buyer == customer_id && bought == lines && total.currency == currency =>
            {
                Ok(None)
            }
            Self::Placed { .. } | Self::Cancelled => Err(OrderRejection::AlreadyPlaced),
        }
    }

    fn cancel(&self, order_id: OrderId, reason: &Text, now: Timestamp) -> Result<Option<OrderEvent>, OrderRejection> {
        match self {
            Self::Absent => Err(OrderRejection::NotFound),
            Self::Placed { total, .. } => Ok(Some(OrderEvent::OrderCancelled {
                order_id,
                reason: reason.clone(),
                total: *total,
                cancelled_at: now,
            })),
            Self::Cancelled => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const NOW: Timestamp = Timestamp(1_000);
    const ID: OrderId = OrderId(Uuid::nil());

    fn lines(of: &[(u64, i64)]) -> Lines {
        let line = |&(quantity, price): &(u64, i64)| Line {
            sku: Sku::parse("tea").unwrap(),
            quantity: Quantity::new(quantity).unwrap(),
            unit_price: UnitPrice::new(price).unwrap(),
        };
        Lines::new(of.iter().map(line).collect()).unwrap()
    }

    fn place(of: &[(u64, i64)]) -> OrderCommand {
        OrderCommand::PlaceOrder {
            order_id: ID,
            customer_id: CustomerId::parse("ann").unwrap(),
            currency: Currency::EUR,
            lines: lines(of),
        }
    }

    fn placed(of: &[(u64, i64)], total: i64) -> OrderEvent {
        OrderEvent::OrderPlaced {
            order_id: ID,
            customer_id: CustomerId::parse("ann").unwrap(),
            lines: lines(of),
            total: Money { amount: total, currency: Currency::EUR },
            placed_at: NOW,
        }
    }

    fn cancel() -> OrderCommand {
        OrderCommand::CancelOrder { order_id: ID, reason: Text::parse("late").unwrap() }
    }

    fn cancelled(total: i64) -> OrderEvent {
        OrderEvent::OrderCancelled {
            order_id: ID,
            reason: Text::parse("late").unwrap(),
            total: Money { amount: total, currency: Currency::EUR },
            cancelled_at: NOW,
        }
    }

    #[test]
    fn the_total_is_the_sum_of_the_lines() {
        given::<Order>(&[]).when(&place(&[(2, 350), (1, 99)]), NOW).then(&placed(&[(2, 350), (1, 99)], 799));
    }

    #[test]
    fn a_total_that_does_not_fit_is_refused() {
        given::<Order>(&[]).when(&place(&[(2, i64::MAX)]), NOW).then_rejected("amount_overflow");
        given::<Order>(&[]).when(&place(&[(1, i64::MAX), (1, 1)]), NOW).then_rejected("amount_overflow");
    }

    #[test]
    fn an_order_is_placed_once() {
        let history = [placed(&[(1, 5)], 5)];
        given::<Order>(&history).when(&place(&[(1, 5)]), NOW).then_nothing();
        given::<Order>(&history).when(&place(&[(2, 5)]), NOW).then_rejected("order_already_placed");
    }

    #[test]
    fn cancelled_is_final() {
        let history = [placed(&[(1, 5)], 5), cancelled(5)];
        given::<Order>(&history[..1]).when(&cancel(), NOW).then(&cancelled(5));
        given::<Order>(&history).when(&cancel(), NOW).then_nothing();
        given::<Order>(&history).when(&place(&[(1, 5)]), NOW).then_rejected("order_already_placed");
    }

    #[test]
    fn an_absent_order_cannot_be_cancelled() {
        given::<Order>(&[]).when(&cancel(), NOW).then_rejected("order_not_found");
    }

    #[test]
    fn an_order_has_one_to_two_hundred_lines() {
        assert_eq!(Lines::new(vec![]).unwrap_err().code, "invalid_length");
        let line = lines(&[(1, 1)]).as_slice()[0].clone();
        assert!(Lines::new(vec![line.clone(); 200]).is_ok());
        assert_eq!(Lines::new(vec![line; 201]).unwrap_err().code, "invalid_length");
    }
}
