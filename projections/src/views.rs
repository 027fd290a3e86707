//! The shop's views: the one table of them, and what they share.
//!
//! A new view is one file here, one migration and one row in the table.

pub mod activity_feed;
pub mod order_detail;
pub mod order_list;
pub mod stock_level;

use domain::order::OrderEvent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::Placed;

pub use activity_feed::{Activities, Activity, Datum};
pub use order_detail::{OrderDetail, OrderDetails, OrderLine};
pub use order_list::{OrderCursor, OrderLists, OrderSummary};
pub use stock_level::{StockLevel, StockLevels};

/// A view that lives in PostgreSQL, or in memory where there is none.
pub type InPostgres<V> = Placed<V>;
/// A view that lives in MySQL or MariaDB, or in memory where there is none.
pub type InMysql<V> = Placed<V>;
/// A view that lives in MongoDB, or in memory where there is none.
pub type InMongo<V> = Placed<V>;

/// Finders of every view. Clones share.
#[derive(Clone)]
pub struct Views {
    /// `order_detail`.
    pub order_details: OrderDetails,
    /// `order_list`.
    pub order_lists: OrderLists,
    /// `stock_level`.
    pub stock_levels: StockLevels,
    /// `activity_feed`.
    pub activities: Activities,
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
