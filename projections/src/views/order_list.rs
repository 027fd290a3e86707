//! A customer's orders, newest first: `GET /v1/orders?customer_id=…`. In PostgreSQL, key = order id, with an index by
//! customer and time. A page ends in a cursor, not in a count, so that it stays right while orders are placed.

use std::fmt;
use std::str::FromStr;

use domain::Timestamp;
use domain::money::Money;
use domain::order::{Order, OrderEvent};
use eventlog::{Admitted, Partition};
use schemas::{Codec, CodecError, Topic, topics};
use serde::Serialize;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, Row};
use uuid::Uuid;

use super::{OrderStatus, Page};
use crate::store::{AsOf, Store, StoreError};
use crate::stores::memory::MemoryView;
use crate::stores::postgres::{PostgresStore, PostgresView, column};
use crate::view::{Recorded, View, recorded};

/// An order in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderSummary {
    /// Its id.
    pub id: Uuid,
    /// Who bought.
    pub customer_id: String,
    /// Where it stands.
    pub status: OrderStatus,
    /// Sum of its lines.
    pub total: Money,
    /// When, by the owner's clock.
    pub placed_at: Timestamp,
    /// How many events it has had.
    pub version: u64,
}

impl View for OrderSummary {
    const NAME: &'static str = "order_list";
    const GENERATION: u32 = 1;
    const TOPICS: &'static [&'static Topic] = &[&topics::ORDER];

    type Key = Uuid;
    type Event = Recorded<OrderEvent>;

    fn decode(codec: &Codec, admitted: &Admitted) -> Result<Option<Self::Event>, CodecError> {
        recorded::<Order>(codec, admitted)
    }

    fn key_of(recorded: &Self::Event) -> Uuid {
        super::order_id(&recorded.event)
    }

    fn key(&self) -> Uuid {
        self.id
    }

    fn home(key: &Uuid) -> Partition {
        Partition::of(&topics::ORDER, key.to_string().as_bytes())
    }

    fn needs_row(recorded: &Self::Event) -> bool {
        !matches!(*recorded.event, OrderEvent::OrderPlaced { .. })
    }

    fn fold(row: Option<Self>, recorded: &Self::Event) -> Option<Self> {
        let version = recorded.envelope.version;
        match &*recorded.event {
            OrderEvent::OrderPlaced { order_id, customer_id, total, placed_at, .. } => Some(Self {
                id: order_id.0,
                customer_id: customer_id.to_string(),
                status: OrderStatus::Placed,
                total: *total,
                placed_at: *placed_at,
                version,
            }),
            OrderEvent::OrderCancelled { .. } => Some(Self { status: OrderStatus::Cancelled, version, ..row? }),
        }
    }
}

impl PostgresView for OrderSummary {
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("id", "uuid"),
        ("customer_id", "text"),
        ("status", "text"),
        ("total_amount", "bigint"),
        ("currency", "text"),
        ("placed_at", "bigint"),
        ("version", "bigint"),
    ];

    fn bind(rows: &[Self], to: &mut PgArguments) -> Result<(), BoxDynError> {
        to.add(column(rows, |row| row.id))?;
        to.add(column(rows, |row| row.customer_id.as_str()))?;
        to.add(column(rows, |row| row.status.as_str()))?;
        to.add(column(rows, |row| row.total.amount))?;
        to.add(column(rows, |row| row.total.currency.code()))?;
        to.add(column(rows, |row| row.placed_at.0))?;
        to.add(column(rows, |row| row.version.cast_signed()))
    }

    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let odd = |invalid: super::InvalidRow| sqlx::Error::Decode(invalid.into());
        Ok(Self {
            id: row.try_get("id")?,
            customer_id: row.try_get("customer_id")?,
            status: OrderStatus::parse(row.try_get("status")?).map_err(odd)?,
            total: super::money(row.try_get("total_amount")?, row.try_get("currency")?).map_err(odd)?,
            placed_at: Timestamp(row.try_get("placed_at")?),
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
        })
    }
}

impl MemoryView for OrderSummary {
    type Place = (i64, Uuid);

    fn listed(&self) -> Option<(&str, Self::Place)> {
        Some((&self.customer_id, (self.placed_at.0, self.id)))
    }
}

/// The last order of a page; the next page goes on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderCursor {
    /// When it was placed.
    pub placed_at: Timestamp,
    /// Its id.
    pub id: Uuid,
}

/// As `1700000000123_0190…`.
impl fmt::Display for OrderCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.placed_at.0, self.id.simple())
    }
}

impl FromStr for OrderCursor {
    type Err = super::InvalidCursor;

    fn from_str(text: &str) -> Result<Self, super::InvalidCursor> {
        let (placed_at, id) = text.split_once('_').ok_or(super::InvalidCursor)?;
        Ok(Self {
            placed_at: Timestamp(placed_at.parse().map_err(|_| super::InvalidCursor)?),
            id: Uuid::try_parse(id).map_err(|_| super::InvalidCursor)?,
        })
    }
}

/// Finds the orders of a customer.
pub type OrderLists = super::InPostgres<OrderSummary>;

impl OrderLists {
    /// At most `limit` orders of `customer_id`, newest first, after `after`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn by_customer(
        &self,
        customer_id: &str,
        limit: usize,
        after: Option<OrderCursor>,
    ) -> Result<AsOf<Page<OrderSummary, OrderCursor>>, StoreError> {
        let rows = match self {
            Self::Memory(store) => {
                let place = after.map(|cursor| (cursor.placed_at.0, cursor.id));
                store.last(&OrderSummary::partitions(), customer_id, place, limit + 1)
            }
            Self::Server(store) => in_postgres(store, customer_id, limit + 1, after).await?,
        };
        Ok(rows.map(|rows| Page::cut(rows, limit, |row| OrderCursor { placed_at: row.placed_at, id: row.id })))
    }
}

/// A page is one walk along the index.
const BY_CUSTOMER: &str = "
SELECT id, customer_id, status, total_amount, currency, placed_at, version FROM {table}
WHERE customer_id = $4 AND (placed_at, id) < ($5, $6)
ORDER BY placed_at DESC, id DESC LIMIT $7";

async fn in_postgres(
    store: &PostgresStore<OrderSummary>,
    customer_id: &str,
    limit: usize,
    after: Option<OrderCursor>,
) -> Result<AsOf<Vec<OrderSummary>>, StoreError> {
    let after = after.unwrap_or(OrderCursor { placed_at: Timestamp(i64::MAX), id: Uuid::max() });
    let sql = BY_CUSTOMER.replace("{table}", &OrderSummary::table(store.generation()));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let bind = |to: &mut PgArguments| {
        to.add(customer_id)?;
        to.add(after.placed_at.0)?;
        to.add(after.id)?;
        to.add(limit)
    };
    store.select(&sql, bind).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::testing::{cancelled, placed};

    #[test]
    fn a_cancelled_order_stays_in_its_place() {
        let before = OrderSummary::fold(None, &placed("ann", 1_000)).unwrap();
        let after = OrderSummary::fold(Some(before.clone()), &cancelled()).unwrap();
        assert_eq!(after.listed(), before.listed());
        assert_eq!(after, OrderSummary { status: OrderStatus::Cancelled, version: 2, ..before });
    }

    #[test]
    fn placing_does_not_depend_on_the_former_row() {
        let row = OrderSummary::fold(None, &placed("ann", 1_000));
        assert_eq!(OrderSummary::fold(OrderSummary::fold(None, &placed("bob", 5)), &placed("ann", 1_000)), row);
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = OrderCursor { placed_at: Timestamp(-5), id: Uuid::from_u128(7) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for odd in ["", "1", "_", "x_0", "1_zz"] {
            assert!(odd.parse::<OrderCursor>().is_err(), "{odd}");
        }
    }
}
