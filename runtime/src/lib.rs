//! What every role of the process repeats: settings, logs, metrics, traces, health, and the signal to stop.

pub mod config;
pub mod health;
pub mod shutdown;
pub mod telemetry;

pub use config::Config;
pub use health::Health;
pub use telemetry::Telemetry;
