//! The real servers on this machine, without containers: what is missing is installed, what is down is started.
//!
//! An *instance* is one set of servers with ports and data of its own. `dev` and `test` stand in `stack.toml`; others are made
//! by name, on a port base or on free ports, for tests that kill servers. For other modules of this crate:
//!
//! ```ignore
//! let urls = Instance::load("dev")?.up()?;                        // what `cargo xtask stack up` does
//! let own = Instance::custom("faults", &[Kind::Kafka], Ports::free(3)?)?;
//! own.reset()?;                                                   // what an interrupted run left
//! own.up()?;
//! own.server("kafka2")?.kill9()?;                                 // as a power cut would
//! own.server("kafka2")?.start()?;
//! own.server("kafka2")?.wait_ready(READY_LIMIT)?;
//! own.reset()?;
//! ```
//!
//! Servers outlive the program that started them, so that a person can keep them up; `down` is always explicit.

pub mod cli;

mod cache;
mod install;
mod instance;
mod kafka;
mod mongo;
mod mysql;
mod ports;
mod postgres;
mod process;
mod registry;
mod server;
mod urls;

use std::fs::File;

use anyhow::Result;

use crate::progress::Progress;

// Not each sub-command needs all of them.
#[allow(unused_imports)]
pub use self::{
    instance::Instance,
    ports::Ports,
    server::{Kind, READY_LIMIT, Server, State},
    urls::Urls,
};

/// Installs what `cargo xtask faults` breaks things with, beside the servers.
pub fn install_fault_tools() -> Result<()> {
    install::Tools::new(cache::Cache::open()?).install_for_faults(&Progress::new())
}

/// Holds off every other xtask that asks for the same name, until the answer is dropped or the process ends.
pub fn lock(name: &str) -> Result<File> {
    cache::Cache::open()?.lock(name)
}
