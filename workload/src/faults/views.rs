//! Faults of the projectors and of their stores.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::Row;
use super::measure::Recovered;
use super::place::Tools;
use super::shop::Node;
use super::trial::{Judged, Scene, Trial, crash};
use crate::load::now_ms;

/// Pages that show what PostgreSQL, MySQL and MongoDB hold.
pub const ORDERS: &str = "/v1/orders/";
pub const STOCK: &str = "/v1/stock/";
pub const ACTIVITY: &str = "/v1/activity";
/// A store that was away for three seconds. Commands are answered all the time (I14): they may pause so long at most.
pub const COMMANDS_PAUSE_S_MAX: f64 = 2.0;

pub fn rows() -> Vec<Row> {
    vec![
        // PostgreSQL gets rows and checkpoints in one statement, so there is no inside: this is between it and the rest.
        Row::new("F03-postgresql", "the projector dies after a commit in PostgreSQL", 30.0, |tools| {
            dies(tools, "after-postgres-commit:20", ORDERS)
        })
        .quick(),
        Row::new("F03-mysql", "the projector dies inside a transaction of MySQL", 30.0, |tools| {
            dies(tools, "in-mysql-transaction:20", STOCK)
        })
        .quick(),
        Row::new("F03-mongodb", "the projector dies inside a transaction of MongoDB", 30.0, |tools| {
            dies(tools, "in-mongo-transaction:20", ACTIVITY)
        })
        .quick(),
        Row::new("F16-postgresql", "PostgreSQL is killed, and back after 3 s", 30.0, |tools| {
            store_dies(tools, "postgres", ORDERS)
        }),
        Row::new("F16-mysql", "MySQL is killed, and back after 3 s", 30.0, |tools| store_dies(tools, "mysql", STOCK))
            .quick(),
        Row::new("F16-mongodb", "MongoDB is killed, and back after 3 s", 30.0, |tools| {
            store_dies(tools, "mongo", ACTIVITY)
        })
        .quick(),
    ]
}

fn dies(tools: &Tools, point: &str, page: &'static str) -> Result<Judged> {
    let node = Node { first: vec![("LONJA_CRASH", point.to_owned())], ..Node::default() };
    let recovered = Recovered::Read(page);
    Trial { nodes: vec![node], seconds: 8.0, recovered, strike: &crash, ..Trial::default() }.run(tools)
}

fn store_dies(tools: &Tools, server: &str, page: &'static str) -> Result<Judged> {
    let strike = |scene: &Scene| {
        let servers = scene.servers()?;
        servers.kill(server)?;
        sleep(Duration::from_secs(3));
        servers.start_again(server)?;
        Ok(now_ms())
    };
    let recovered = Recovered::Read(page);
    let trial = Trial { own: server, seconds: 14.0, recovered, strike: &strike, ..Trial::default() };
    let mut judged = trial.run(tools)?;
    if judged.longest_pause_s > COMMANDS_PAUSE_S_MAX {
        let pause = judged.longest_pause_s;
        judged.found.push(format!("I14: no command was answered for {pause} s, only because a store was away"));
    }
    Ok(judged)
}
