//! How much of a SKU there is: `GET /v1/stock/{sku}`. In MySQL, key = SKU.

use domain::stock::{StockEvent, StockItem};
use eventlog::{Admitted, Partition};
use schemas::{Codec, CodecError, Topic, topics};
use serde::Serialize;
use sqlx::Row;
use sqlx::mysql::MySqlRow;

use crate::store::{AsOf, StoreError};
use crate::stores::memory::MemoryView;
use crate::stores::mysql::MysqlView;
use crate::view::{Recorded, View, recorded};

/// The stock of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StockLevel {
    /// Which SKU.
    pub sku: String,
    /// Units in the building.
    pub on_hand: u64,
    /// Units that somebody holds.
    pub reserved: u64,
    /// Units that nobody holds.
    pub available: u64,
    /// How many events it has had.
    pub version: u64,
}

impl View for StockLevel {
    const NAME: &'static str = "stock_level";
    const GENERATION: u32 = 1;
    const TOPICS: &'static [&'static Topic] = &[&topics::STOCK];

    type Key = String;
    type Event = Recorded<StockEvent>;

    fn decode(codec: &Codec, admitted: &Admitted) -> Result<Option<Self::Event>, CodecError> {
        recorded::<StockItem>(codec, admitted)
    }

    fn key_of(recorded: &Self::Event) -> String {
        let (StockEvent::StockReceived { sku, .. }
        | StockEvent::StockReserved { sku, .. }
        | StockEvent::ReservationReleased { sku, .. }) = &*recorded.event;
        sku.to_string()
    }

    fn key(&self) -> String {
        self.sku.clone()
    }

    fn home(key: &String) -> Partition {
        Partition::of(&topics::STOCK, key.as_bytes())
    }

    fn needs_row(recorded: &Self::Event) -> bool {
        !matches!(*recorded.event, StockEvent::StockReceived { .. })
    }

    fn fold(row: Option<Self>, recorded: &Self::Event) -> Option<Self> {
        let (on_hand, available) = match &*recorded.event {
            StockEvent::StockReceived { on_hand_after, available_after, .. } => (*on_hand_after, *available_after),
            StockEvent::StockReserved { available_after, .. }
            | StockEvent::ReservationReleased { available_after, .. } => (row?.on_hand, *available_after),
        };
        Some(Self {
            sku: Self::key_of(recorded),
            on_hand,
            reserved: on_hand.saturating_sub(available),
            available,
            version: recorded.envelope.version,
        })
    }
}

impl MysqlView for StockLevel {
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("sku", "varchar(64)"),
        ("on_hand", "bigint"),
        ("reserved", "bigint"),
        ("available", "bigint"),
        ("version", "bigint"),
    ];

    fn read(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let number = |column| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
        Ok(Self {
            sku: row.try_get("sku")?,
            on_hand: number("on_hand")?,
            reserved: number("reserved")?,
            available: number("available")?,
            version: number("version")?,
        })
    }
}

impl MemoryView for StockLevel {
    type Place = ();
}

/// Finds stock.
pub type StockLevels = super::InMysql<StockLevel>;

impl StockLevels {
    /// The stock of `sku`, if there ever was any.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn by_sku(&self, sku: &str) -> Result<AsOf<Option<StockLevel>>, StoreError> {
        let sku = sku.to_owned();
        match self {
            Self::Memory(store) => Ok(store.look_up(&sku)),
            Self::Server(store) => store.look_up(&sku).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::testing::{received, released, reserved};

    #[test]
    fn stock_follows_what_the_events_say() {
        let history = [received(10, 10, 10), reserved("a", 4, 6), reserved("b", 6, 0), released("a", 4, 4)];
        let mut row = None;
        let mut seen = Vec::new();
        for event in &history {
            row = StockLevel::fold(row, event);
            let level = row.as_ref().unwrap();
            seen.push((level.on_hand, level.reserved, level.available));
        }
        assert_eq!(seen, [(10, 0, 10), (10, 4, 6), (10, 10, 0), (10, 6, 4)]);
    }

    #[test]
    fn a_delivery_does_not_depend_on_the_former_row() {
        let before = StockLevel::fold(None, &received(10, 10, 10));
        assert_eq!(StockLevel::fold(before, &received(5, 15, 12)), StockLevel::fold(None, &received(5, 15, 12)));
    }

    #[test]
    fn a_reservation_alone_makes_no_row() {
        assert_eq!(StockLevel::fold(None, &reserved("a", 4, 6)), None);
    }
}
