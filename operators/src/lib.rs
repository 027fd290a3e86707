//! The operators' API: what people do who run the shop, over HTTP on a listener of its own, so that a console can be built on
//! it and every verb of the command line works wherever the process keeps its log and views.
//!
//! All routes stand on one page, [`routes`]; each resource is one file. Whatever changes something is on the log of
//! [`audit`] before it takes effect. The listener is for operators alone: whoever reaches it can do anything.

pub mod audit;
pub mod log;
pub mod owners;
pub mod parked;
pub mod problem;
pub mod replays;
pub mod routes;

mod body;
mod operator;
mod parameters;
mod range;
mod server;
mod status;

use std::sync::Arc;

use eventlog::EventLog;
use projections::{Lags, Progress, Views};
use schemas::Codec;

pub use audit::Audit;
pub use operator::Operator;
pub use owners::AskOwners;
pub use server::{Shared, serve};

/// What the routes work with.
pub struct Operators {
    /// What the shop stands on.
    pub log: Arc<dyn EventLog>,
    /// Reads its records.
    pub codec: Arc<Codec>,
    /// The views, each in its store.
    pub views: Views,
    /// How far they have come.
    pub progress: Progress,
    /// How far they are behind.
    pub lags: Lags,
    /// Who owns what.
    pub owners: AskOwners,
    /// What is known of the log.
    pub surveys: log::Surveys,
    /// Who did what.
    pub audit: Audit,
}
