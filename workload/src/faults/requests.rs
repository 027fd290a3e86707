//! Faults that customers make: the same key many times at once, and a rush for the last units.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use nix::sys::signal::Signal;
use serde_json::json;

use super::Row;
use super::measure::Recovered;
use super::owner::two_nodes;
use super::place::Tools;
use super::shop::Shop;
use super::trial::{Judged, Scene, Trial, accepted};
use crate::history::{Attempt, Recorder};
use crate::load::{Link, attempt, now_ms};
use crate::mix::Operation;

/// Keys of F24.
const KEYS: u32 = 20;
/// Requests with one key at the same time; every fifth has another body.
const AT_ONCE: u32 = 50;
/// Units of the flash sale.
const UNITS: usize = 10;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("F24", "each of 20 keys is sent 50 times at once, every fifth time with another body", 2.0, |tools| {
            Trial { strike: &same_keys, ..Trial::default() }.run(tools)
        })
        .quick(),
        Row::new("F28", "a flash sale: 1,000 buyers, 10 units, and F02, F04 and F06 meanwhile", 23.0, flash_sale),
    ]
}

fn same_keys(scene: &Scene) -> Result<i64> {
    let run = uuid::Uuid::new_v4().simple().to_string();
    let mut attempts = Vec::new();
    for key in 0..KEYS {
        let operations = (0..AT_ONCE).map(|copy| order(&format!("{run}-{key}"), copy.is_multiple_of(5)));
        attempts.extend(at_once(&[scene.shop().address], operations.collect())?);
    }
    record(scene, "same-keys", &attempts)?;
    Ok(now_ms())
}

/// Sends all of them at the same time, each to the first address, then to the next ones until it has a definite answer or
/// half a minute is over.
pub fn at_once(addresses: &[SocketAddr], operations: Vec<Operation>) -> Result<Vec<Attempt>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    let send = |operation: Operation| async move {
        let (mut link, mut attempts, begun) = (Link::default(), Vec::new(), Instant::now());
        loop {
            let attempt = attempt(addresses, &mut link, &operation, Duration::from_secs(10)).await;
            let again = attempt.wants_repeating() && begun.elapsed() < Duration::from_secs(30);
            attempts.push(attempt);
            if !again {
                return attempts;
            }
            link.next();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    Ok(runtime.block_on(join_all(operations.into_iter().map(send))).concat())
}

/// What a strike sent, for the verifier.
pub fn record(scene: &Scene, name: &str, attempts: &[Attempt]) -> Result<()> {
    let history = scene.place.dir.path().join(format!("{name}.jsonl"));
    let mut recorder = Recorder::create(&history)?;
    attempts.iter().try_for_each(|attempt| recorder.add(attempt))?;
    recorder.finish()?;
    scene.histories.borrow_mut().push(history);
    Ok(())
}

pub fn order(key: &str, other: bool) -> Operation {
    let lines = json!([{"sku": "tea", "quantity": if other { 2 } else { 1 }, "unit_price": 100}]);
    let body = json!({"customer_id": "impatient", "currency": "EUR", "lines": lines});
    Operation::command(key.to_owned(), "POST", "/v1/orders".into(), body)
}

/// The owner dies by itself, is frozen past its session later, and the broker is killed between.
fn flash_sale(tools: &Tools) -> Result<Judged> {
    let mut nodes = two_nodes();
    // One of them owns the SKU, nobody knows which: that one dies first. The other one may, when it has taken over.
    nodes.iter_mut().for_each(|node| node.first.push(("LONJA_CRASH", "after-append:40".to_owned())));
    let strike = |scene: &Scene| {
        let owner = first_dead(scene)?;
        owner.wait_until_ready()?;
        let servers = scene.servers()?;
        servers.kill("kafka")?;
        servers.start_again("kafka")?;
        sleep(Duration::from_secs(3));
        owner.signal(Signal::SIGSTOP)?;
        sleep(Duration::from_secs(10));
        owner.signal(Signal::SIGCONT)?;
        Ok(now_ms())
    };
    let after = |scene: &Scene| {
        let sold = accepted(&scene.attempts()?).filter(|attempt| attempt.path.ends_with("/reservations")).count();
        Ok(if sold == UNITS { Vec::new() } else { vec![format!("I5: {sold} of {UNITS} units were sold")] })
    };
    let recovered = Recovered::Command;
    // 1,010 operations: ten deliveries of one unit each among 1,000 buyers.
    let (seconds, rate, load) = (50.5, 20.0, &["--flash", "10", "--answer-timeout", "3", "--settle", "90"]);
    let trial = Trial {
        own: "kafka",
        nodes,
        seconds,
        rate,
        load,
        recovered,
        strike: &strike,
        after: &after,
        ..Trial::default()
    };
    trial.run(tools)
}

fn first_dead(scene: &Scene) -> Result<&Shop> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(shop) = scene.shops.iter().find(|shop| shop.kills() > 0) {
            return Ok(shop);
        }
        ensure!(Instant::now() < deadline, "no owner died: the fault did not strike");
        sleep(Duration::from_millis(20));
    }
}
