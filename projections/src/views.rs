//! The shop's views: the one table of them, and what they share.
//!
//! A new view is one file here, one migration and one row in the table.

pub mod activity_feed;
pub mod order_detail;
pub mod order_list;
pub mod stock_level;

use std::future::Future;
use std::sync::Arc;

use domain::money::{Money, parse_currency};
use domain::order::{Order, OrderEvent};
use domain::stock::StockItem;
use eventlog::shared::Decode;
use eventlog::{Decoded, Stored};
use schemas::{Codec, Contract, Envelope};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::generations::Generations;
use crate::parking::Parking;
use crate::store::Store;
use crate::stores::mongo::{Indexed, MongoStore};
use crate::stores::mysql::MysqlStore;
use crate::stores::postgres::PostgresStore;
use crate::stores::{Placed, Stores};
use crate::view::{View, is_event};

pub use activity_feed::{Activities, Activity, Gist};
pub use order_detail::{OrderDetail, OrderDetails, OrderLine};
pub use order_list::{OrderCursor, OrderLists, OrderSummary};
pub use stock_level::{StockLevel, StockLevels};

/// A view that lives in PostgreSQL, or in memory where there is none.
pub type InPostgres<V> = Placed<V, PostgresStore<V>>;
/// A view that lives in MySQL or MariaDB, or in memory where there is none.
pub type InMysql<V> = Placed<V, MysqlStore<V>>;
/// A view that lives in MongoDB, or in memory where there is none.
pub type InMongo<V> = Placed<V, MongoStore<V>>;

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident: $row:ty => $home:ident,)*) => {
        /// The names of the views, in the order of the table.
        pub const NAMES: &[&str] = &[$(<$row as View>::NAME),*];

        /// Finders of every view. Clones share.
        #[derive(Clone)]
        pub struct Views {
            $($(#[$doc])* pub $name: $home<$row>,)*
        }

        impl Views {
            /// Each view in its home among `stores`.
            #[must_use]
            pub fn among(stores: &Stores) -> Self {
                Self { $($name: Placed::among(stores),)* }
            }

            /// What is parked of the view called `name`.
            #[must_use]
            pub fn parking(&self, name: &str) -> Option<&dyn Parking> {
                match name {
                    $(<$row as View>::NAME => Some(self.$name.parking()),)*
                    _ => None,
                }
            }

            /// The generations of the view called `name`.
            #[must_use]
            pub fn generations(&self, name: &str) -> Option<&dyn Generations> {
                match name {
                    $(<$row as View>::NAME => Some(self.$name.generations()),)*
                    _ => None,
                }
            }

            /// Does the same to each view, in the order of the table.
            pub async fn each<D: ToEach>(&self, deed: &D) -> Vec<D::Outcome> {
                vec![$(deed.to(&self.$name).await,)*]
            }
        }
    };
}

table! {
    /// Orders by id: `order_detail`.
    order_details: OrderDetail => InPostgres,
    /// Orders by customer: `order_list`.
    order_lists: OrderSummary => InPostgres,
    /// Stock by SKU: `stock_level`.
    stock_levels: StockLevel => InMysql,
    /// What happened, by subject: `activity_feed`.
    activities: Activity => InMongo,
}

/// The collections in MongoDB, for the step that makes them.
#[must_use]
pub fn in_mongo() -> Vec<Indexed> {
    vec![Indexed::of::<Activity>()]
}

/// Decodes events once for all views of a process; what it cannot read, each view finds for itself.
#[must_use]
pub fn decoder(codec: Arc<Codec>) -> Decode {
    fn of<A: Contract>(codec: &Codec, stored: &Stored, envelope: &Envelope) -> Option<Decoded> {
        let is_event = stored.partition.topic == A::TOPIC && is_event(envelope);
        is_event.then(|| A::decode(codec, &envelope.record_type, &stored.record.payload).ok().map(Decoded::new))?
    }
    Box::new(move |stored, envelope| {
        of::<Order>(&codec, stored, envelope).or_else(|| of::<StockItem>(&codec, stored, envelope))
    })
}

/// Something that is done to each view, whatever its row and store.
pub trait ToEach {
    /// What comes of it.
    type Outcome;

    /// Does it to the view that lives in `store`.
    fn to<V: View, S: Store<V>>(&self, store: &S) -> impl Future<Output = Self::Outcome> + Send;
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// Placed and not cancelled.
    Placed,
    /// Cancelled for good.
    Cancelled,
}

impl OrderStatus {
    /// Its name, as clients and stores know it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Cancelled => "cancelled",
        }
    }

    fn parse(text: &str) -> Result<Self, InvalidRow> {
        [Self::Placed, Self::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| InvalidRow(format!("{text:?} is no status of an order")))
    }
}

/// A store holds a row that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct InvalidRow(String);

fn money(amount: i64, currency: &str) -> Result<Money, InvalidRow> {
    let currency = parse_currency(currency).map_err(|_| InvalidRow(format!("{currency:?} is no currency")))?;
    Ok(Money { amount, currency })
}

/// Some rows of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<R, C> {
    /// The rows, in the list's order.
    pub rows: Vec<R>,
    /// Where the next page goes on; `None` when this is the last.
    pub next: Option<C>,
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor that was given out")]
pub struct InvalidCursor;

impl<R, C> Page<R, C> {
    /// A page of `limit` of `rows`; one more row than that says that there is a next page.
    fn cut(mut rows: Vec<R>, limit: usize, cursor: impl Fn(&R) -> C) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        Self { next: rows.last().filter(|_| more).map(cursor), rows }
    }
}

fn order_id(event: &OrderEvent) -> Uuid {
    let (OrderEvent::OrderPlaced { order_id, .. } | OrderEvent::OrderCancelled { order_id, .. }) = event;
    order_id.0
}

#[cfg(test)]
mod testing;
