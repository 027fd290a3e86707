//! One order as whoever placed it sees it: `GET /v1/orders/{id}`. In PostgreSQL, key = order id.

use domain::Timestamp;
use domain::money::Money;
use domain::order::{Line, Order, OrderEvent};
use eventlog::{Admitted, Partition};
use schemas::{Codec, CodecError, Topic, topics};
use serde::{Deserialize, Serialize};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::types::Json;
use sqlx::{Arguments, Row};
use uuid::Uuid;

use super::OrderStatus;
use crate::store::{AsOf, StoreError};
use crate::stores::memory::MemoryView;
use crate::stores::postgres::{PostgresView, column};
use crate::view::{Recorded, View, recorded};

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderDetail {
    /// Its id.
    pub id: Uuid,
    /// Who bought.
    pub customer_id: String,
    /// Where it stands.
    pub status: OrderStatus,
    /// What was bought, in the order in which it was given.
    pub lines: Vec<OrderLine>,
    /// Sum of the lines.
    pub total: Money,
    /// When, by the owner's clock.
    pub placed_at: Timestamp,
    /// How many events it has had.
    pub version: u64,
}

/// One position of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// What.
    pub sku: String,
    /// How many.
    pub quantity: u32,
    /// Price of one unit in minor units of the total's currency.
    pub unit_price: i64,
}

impl From<&Line> for OrderLine {
    fn from(line: &Line) -> Self {
        Self { sku: line.sku.to_string(), quantity: line.quantity.get(), unit_price: line.unit_price.get() }
    }
}

impl View for OrderDetail {
    const NAME: &'static str = "order_detail";
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
            OrderEvent::OrderPlaced { order_id, customer_id, lines, total, placed_at } => Some(Self {
                id: order_id.0,
                customer_id: customer_id.to_string(),
                status: OrderStatus::Placed,
                lines: lines.as_slice().iter().map(OrderLine::from).collect(),
                total: *total,
                placed_at: *placed_at,
                version,
            }),
            OrderEvent::OrderCancelled { .. } => Some(Self { status: OrderStatus::Cancelled, version, ..row? }),
        }
    }
}

impl PostgresView for OrderDetail {
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("id", "uuid"),
        ("customer_id", "text"),
        ("status", "text"),
        ("lines", "jsonb"),
        ("total_amount", "bigint"),
        ("currency", "text"),
        ("placed_at", "bigint"),
        ("version", "bigint"),
    ];

    fn bind(rows: &[Self], to: &mut PgArguments) -> Result<(), BoxDynError> {
        to.add(column(rows, |row| row.id))?;
        to.add(column(rows, |row| row.customer_id.as_str()))?;
        to.add(column(rows, |row| row.status.as_str()))?;
        to.add(column(rows, |row| Json(&row.lines)))?;
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
            lines: row.try_get::<Json<_>, _>("lines")?.0,
            total: super::money(row.try_get("total_amount")?, row.try_get("currency")?).map_err(odd)?,
            placed_at: Timestamp(row.try_get("placed_at")?),
            version: row.try_get::<i64, _>("version")?.cast_unsigned(),
        })
    }
}

impl MemoryView for OrderDetail {
    type Place = ();
}

/// Finds orders.
pub type OrderDetails = super::InPostgres<OrderDetail>;

impl OrderDetails {
    /// The order called `id`, if there is one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn by_id(&self, id: Uuid) -> Result<AsOf<Option<OrderDetail>>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.look_up(&id)),
            Self::Server(store) => store.look_up(id).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::testing::{cancelled, placed};

    #[test]
    fn a_placed_order_is_shown_as_it_was_placed() {
        let row = OrderDetail::fold(None, &placed("ann", 1_000)).unwrap();
        assert_eq!((row.status, row.version, row.placed_at), (OrderStatus::Placed, 1, Timestamp(1_000)));
        assert_eq!(row.lines, [OrderLine { sku: "tea".into(), quantity: 2, unit_price: 350 }]);
        assert_eq!((row.total.amount, row.customer_id.as_str()), (700, "ann"));
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(json["total"], serde_json::json!({"amount": 700, "currency": "EUR"}));
        assert_eq!(json["status"], "placed");
    }

    #[test]
    fn a_cancelled_order_keeps_the_rest() {
        let before = OrderDetail::fold(None, &placed("ann", 1_000)).unwrap();
        let after = OrderDetail::fold(Some(before.clone()), &cancelled()).unwrap();
        assert_eq!(after, OrderDetail { status: OrderStatus::Cancelled, version: 2, ..before });
    }

    #[test]
    fn a_cancellation_alone_makes_no_row() {
        assert_eq!(OrderDetail::fold(None, &cancelled()), None);
    }

    #[test]
    fn placing_does_not_depend_on_the_former_row() {
        let row = OrderDetail::fold(None, &placed("ann", 1_000));
        assert_eq!(OrderDetail::fold(OrderDetail::fold(None, &placed("bob", 5)), &placed("ann", 1_000)), row);
    }
}
