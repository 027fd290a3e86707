//! The roles of the `lonja` binary. Each is a module; `main.rs` only chooses.

pub mod audit;
pub mod cli;
pub mod config_check;
pub mod export;
pub mod failure;
pub mod log_verbs;
pub mod operator;
pub mod owners;
pub mod parked;
pub mod replay;
pub mod roles;
pub mod serve;
pub mod shop;
pub mod status;
pub mod steps;

mod log;
mod start_lines;
mod views;

pub use failure::Failure;
