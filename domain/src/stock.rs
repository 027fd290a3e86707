//! The stock of one SKU.
//!
//! 1. `0 <= reserved <= on_hand <= 2^53 - 1`, always.
//! 2. `reserved` is the sum of the open reservations.
//! 3. The same reservation twice is the same answer; its id with another quantity is refused.
//! 4. A delivery counts once: its reference is remembered (the latest 1,024 of a SKU).

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::decider::{self, Decider, Timestamp};
use crate::ids::{DeliveredQuantity, Quantity, ReservationId, Sku, Text};

/// Most units on hand: what a JSON number carries exactly.
pub const ON_HAND_MAX: u64 = (1 << 53) - 1;

/// How many delivery references a SKU remembers.
pub const RECEIPTS_REMEMBERED: usize = 1_024;

/// What may be asked of a stock item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StockCommand {
    /// Units arrived.
    ReceiveStock {
        /// What.
        sku: Sku,
        /// How many.
        quantity: DeliveredQuantity,
        /// The delivery's own number: the same delivery counts once.
        reference: Text,
    },
    /// Hold units for somebody.
    ReserveStock {
        /// What.
        sku: Sku,
        /// The hold's id, chosen by the caller.
        reservation_id: ReservationId,
        /// How many.
        quantity: Quantity,
    },
    /// Give a hold up.
    ReleaseReservation {
        /// What.
        sku: Sku,
        /// Which hold.
        reservation_id: ReservationId,
    },
}

/// What may happen to a stock item. The names are the storage format: version with care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StockEvent {
    /// Units arrived.
    StockReceived {
        /// What.
        sku: Sku,
        /// How many.
        quantity: DeliveredQuantity,
        /// The delivery's own number.
        reference: Text,
        /// Units on hand afterwards.
        on_hand_after: u64,
        /// Units that nobody holds afterwards.
        available_after: u64,
    },
    /// Units are held.
    StockReserved {
        /// What.
        sku: Sku,
        /// The hold's id.
        reservation_id: ReservationId,
        /// How many.
        quantity: Quantity,
        /// Units that nobody holds afterwards.
        available_after: u64,
    },
    /// A hold was given up.
    ReservationReleased {
        /// What.
        sku: Sku,
        /// Which hold.
        reservation_id: ReservationId,
        /// How many units it held.
        quantity: Quantity,
        /// Units that nobody holds afterwards.
        available_after: u64,
    },
}

/// Why a stock item says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StockRejection {
    /// Fewer units are free than were asked for.
    #[error("{requested} units were requested and {available} are available")]
    OutOfStock {
        /// Units asked for.
        requested: u32,
        /// Units free.
        available: u64,
    },
    /// The reservation's id is taken by a hold of another quantity.
    #[error("a reservation with this id and another quantity exists")]
    ReservationConflict,
    /// No such hold.
    #[error("there is no such open reservation")]
    ReservationNotFound,
    /// The delivery's reference was booked with another quantity.
    #[error("a delivery with this reference and another quantity was booked")]
    ReceiptConflict,
    /// More units than can be represented.
    #[error("the units on hand would exceed what can be represented")]
    QuantityOverflow,
}

impl decider::Rejection for StockRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::OutOfStock { .. } => "out_of_stock",
            Self::ReservationConflict => "reservation_conflict",
            Self::ReservationNotFound => "reservation_not_found",
            Self::ReceiptConflict => "receipt_conflict",
            Self::QuantityOverflow => "quantity_overflow",
        }
    }

    fn facts(&self) -> Vec<(&'static str, i64)> {
        match self {
            Self::OutOfStock { requested, available } => {
                vec![("requested", i64::from(*requested)), ("available", i64::try_from(*available).unwrap_or(i64::MAX))]
            }
            _ => Vec::new(),
        }
    }
}

/// The state of the stock of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StockItem {
    on_hand: u64,
    reserved: u64,
    reservations: BTreeMap<ReservationId, Quantity>,
    receipts: VecDeque<(Text, DeliveredQuantity)>,
}

impl StockItem {
    /// Units in the building.
    #[must_use]
    pub fn on_hand(&self) -> u64 {
        self.on_hand
    }

    /// Units that somebody holds.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Units that nobody holds.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.on_hand.saturating_sub(self.reserved)
    }
}

impl Decider for StockItem {
    type Command = StockCommand;
    type Event = StockEvent;
    type Rejection = StockRejection;

    fn decide(&self, command: &StockCommand, _now: Timestamp) -> Result<Option<StockEvent>, StockRejection> {
        match command {
            StockCommand::ReceiveStock { sku, quantity, reference } => self.receive(sku, *quantity, reference),
            StockCommand::ReserveStock { sku, reservation_id, quantity } => {
                self.reserve(sku, reservation_id, *quantity)
            }
            StockCommand::ReleaseReservation { sku, reservation_id } => self.release(sku, reservation_id),
        }
    }

    fn evolve(mut self, event: &StockEvent) -> Self {
        match event {
            StockEvent::StockReceived { quantity, reference, on_hand_after, .. } => {
                self.on_hand = *on_hand_after;
                self.receipts.push_back((reference.clone(), *quantity));
                if self.receipts.len() > RECEIPTS_REMEMBERED {
                    self.receipts.pop_front();
                }
            }
            StockEvent::StockReserved { reservation_id, quantity, .. } => {
                let before = self.reservations.insert(reservation_id.clone(), *quantity);
                self.reserved = self.reserved + units(*quantity) - before.map_or(0, units);
            }
            StockEvent::ReservationReleased { reservation_id, .. } => {
                let before = self.reservations.remove(reservation_id);
                self.reserved -= before.map_or(0, units);
            }
        }
        self
    }
}

fn units(quantity: Quantity) -> u64 {
    u64::from(quantity.get())
}

impl StockItem {
    fn receive(
        &self,
        sku: &Sku,
        quantity: DeliveredQuantity,
        reference: &Text,
    ) -> Result<Option<StockEvent>, StockRejection> {
        match self.receipts.iter().find(|(booked, _)| booked == reference) {
            Some((_, booked)) if *booked == quantity => return Ok(None),
            Some(_) => return Err(StockRejection::ReceiptConflict),
            None => {}
        }
        let on_hand_after = self.on_hand + u64::from(quantity.get());
        if on_hand_after > ON_HAND_MAX {
            return Err(StockRejection::QuantityOverflow);
        }
        Ok(Some(StockEvent::StockReceived {
            sku: sku.clone(),
            quantity,
            reference: reference.clone(),
            on_hand_after,
            available_after: on_hand_after - self.reserved,
        }))
    }

    fn reserve(
        &self,
        sku: &Sku,
        reservation_id: &ReservationId,
        quantity: Quantity,
    ) -> Result<Option<StockEvent>, StockRejection> {
        match self.reservations.get(reservation_id) {
            Some(held) if *held == quantity => return Ok(None),
            Some(_) => return Err(StockRejection::ReservationConflict),
            None => {}
        }
        let available = self.available();
        let available_after = available
            .checked_sub(units(quantity))
            .ok_or(StockRejection::OutOfStock { requested: quantity.get(), available })?;
        Ok(Some(StockEvent::StockReserved {
            sku: sku.clone(),
            reservation_id: reservation_id.clone(),
            quantity,
            available_after,
        }))
    }

    fn release(&self, sku: &Sku, reservation_id: &ReservationId) -> Result<Option<StockEvent>, StockRejection> {
        let quantity = *self.reservations.get(reservation_id).ok_or(StockRejection::ReservationNotFound)?;
        Ok(Some(StockEvent::ReservationReleased {
            sku: sku.clone(),
            reservation_id: reservation_id.clone(),
            quantity,
            available_after: self.available() + units(quantity),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::given;

    const NOW: Timestamp = Timestamp(0);

    fn sku() -> Sku {
        Sku::parse("tea").unwrap()
    }

    fn receive(quantity: u64, reference: &str) -> StockCommand {
        StockCommand::ReceiveStock {
            sku: sku(),
            quantity: DeliveredQuantity::new(quantity).unwrap(),
            reference: Text::parse(reference).unwrap(),
        }
    }

    fn received(quantity: u64, reference: &str, on_hand_after: u64, available_after: u64) -> StockEvent {
        StockEvent::StockReceived {
            sku: sku(),
            quantity: DeliveredQuantity::new(quantity).unwrap(),
            reference: Text::parse(reference).unwrap(),
            on_hand_after,
            available_after,
        }
    }

    fn reserve(id: &str, quantity: u64) -> StockCommand {
        StockCommand::ReserveStock {
            sku: sku(),
            reservation_id: ReservationId::parse(id).unwrap(),
            quantity: Quantity::new(quantity).unwrap(),
        }
    }

    fn reserved(id: &str, quantity: u64, available_after: u64) -> StockEvent {
        StockEvent::StockReserved {
            sku: sku(),
            reservation_id: ReservationId::parse(id).unwrap(),
            quantity: Quantity::new(quantity).unwrap(),
            available_after,
        }
    }

    fn release(id: &str) -> StockCommand {
        StockCommand::ReleaseReservation { sku: sku(), reservation_id: ReservationId::parse(id).unwrap() }
    }

    #[test]
    fn received_units_are_available() {
        given::<StockItem>(&[]).when(&receive(10, "d1"), NOW).then(&received(10, "d1", 10, 10));
    }

    #[test]
    fn a_delivery_counts_once() {
        let history = [received(10, "d1", 10, 10)];
        given::<StockItem>(&history).when(&receive(10, "d1"), NOW).then_nothing();
        given::<StockItem>(&history).when(&receive(11, "d1"), NOW).then_rejected("receipt_conflict");
        given::<StockItem>(&history).when(&receive(1, "d2"), NOW).then(&received(1, "d2", 11, 11));
    }

    #[test]
    fn no_more_is_reserved_than_is_there() {
        let history = [received(10, "d1", 10, 10), reserved("a", 8, 2)];
        given::<StockItem>(&history).when(&reserve("b", 2), NOW).then(&reserved("b", 2, 0));
        given::<StockItem>(&history)
            .when(&reserve("b", 3), NOW)
            .then_rejected_with("out_of_stock", &[("requested", 3), ("available", 2)]);
    }

    #[test]
    fn the_same_reservation_twice_is_the_same_answer() {
        let history = [received(10, "d1", 10, 10), reserved("a", 10, 0)];
        given::<StockItem>(&history).when(&reserve("a", 10), NOW).then_nothing();
        given::<StockItem>(&history).when(&reserve("a", 9), NOW).then_rejected("reservation_conflict");
    }

    #[test]
    fn a_released_hold_is_available_again_and_ends_once() {
        let held = [received(10, "d1", 10, 10), reserved("a", 4, 6)];
        let released = StockEvent::ReservationReleased {
            sku: sku(),
            reservation_id: ReservationId::parse("a").unwrap(),
            quantity: Quantity::new(4).unwrap(),
            available_after: 10,
        };
        given::<StockItem>(&held).when(&release("a"), NOW).then(&released);
        given::<StockItem>(&[held[0].clone(), held[1].clone(), released])
            .when(&release("a"), NOW)
            .then_rejected("reservation_not_found");
    }

    #[test]
    fn units_on_hand_do_not_overflow() {
        let history = [received(1, "d1", ON_HAND_MAX, ON_HAND_MAX)];
        given::<StockItem>(&history).when(&receive(1, "d2"), NOW).then_rejected("quantity_overflow");
    }
}
