//! The query side: views are folds of the log, kept in the store that suits them.
//!
//! [`view`], [`store`], [`stores`], [`parking`], [`projector`] and [`progress`] are the engine and know no shop; [`views`] is the
//! shop's table of views; [`compose`] puts both together.

pub mod compose;
mod digest;
mod fold;
mod follower;
pub mod generations;
mod lag;
pub mod layout;
pub mod metrics;
pub mod pace;
pub mod parking;
pub mod progress;
pub mod projector;
pub mod store;
pub mod stores;
pub mod verify;
pub mod view;
pub mod views;

pub use compose::{Folds, Projections, start};
pub use lag::{Lag, Lags};
pub use progress::{NotYet, Progress, ViewState};
pub use store::{AsOf, Kind, StoreError};
pub use stores::{Stores, StoresConfig};
pub use views::Views;
