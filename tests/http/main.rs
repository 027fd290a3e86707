//! The whole shop over HTTP: every route, every promise. Each test runs twice, on the embedded log with views in memory
//! and on the real servers that the environment names (`LONJA_KAFKA`, `LONJA_REGISTRY`, `LONJA_POSTGRES`,
//! `LONJA_MYSQL`, `LONJA_MONGO`). A server that is missing fails the test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answer;
mod cluster;
mod commands;
mod consistency;
mod idempotency;
mod input;
mod last_unit;
mod operations;
mod operators;
mod orders;
#[path = "../support/own.rs"]
mod own;
mod parked;
mod real;
mod replays;
mod restart;
mod shop;
mod stock;
mod wire;

/// One test on each home for each function named: `async fn(&TestShop)`, which shares its shop with the others and
/// therefore uses names of its own.
macro_rules! on_both_logs {
    ($($test:ident),* $(,)?) => {
        mod embedded {
            $(#[test] fn $test() { $crate::shop::on_embedded(super::$test) })*
        }
        mod real {
            $(#[test] fn $test() { $crate::shop::on_real(super::$test) })*
        }
    };
}
pub(crate) use on_both_logs;
