//! The HTTP surface of the shop: requests become commands or questions, answers become bytes.
//!
//! All routes stand on one page, [`routes`]; each resource is one file. The gateway reads views and writes no store.

pub mod answer;
pub mod consistency;
pub mod idempotency;
pub mod json;
pub mod metrics;
pub mod problem;
pub mod routes;

mod activity;
mod commands;
mod edge;
mod health;
mod input;
mod orders;
mod params;
mod reading;
mod server;
mod stock;

use std::sync::Arc;

use ::commands::{Lookups, Router};
use domain::order::Order;
use domain::stock::StockItem;
use projections::{Progress, Views};
use runtime::config::HttpConfig;

pub use consistency::Floor;
pub use health::{Operations, operations};
pub use server::serve;

/// What the routes work with.
pub struct GatewayState {
    /// Ways to the owners of orders.
    pub orders: Arc<Router<Order>>,
    /// Ways to the owners of stock items.
    pub stock: Arc<Router<StockItem>>,
    /// What is known of commands.
    pub commands: Lookups,
    /// Where questions are answered from.
    pub views: Views,
    /// How far the views have come.
    pub progress: Progress,
    /// How far views that are built anew must have come before they are read.
    pub floor: Floor,
    /// What is told to whoever runs the process.
    pub operations: Operations,
    /// Whether requests are traced.
    pub traces: bool,
    /// Every limit on requests.
    pub limits: HttpConfig,
}
