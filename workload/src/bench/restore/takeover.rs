//! Two nodes under load, of which the one is killed that had all partitions before the other one came.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eventlog::kafka::Settings;
use serde_json::json;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::Row;
use super::nodes::{Nodes, settle};
use crate::faults::measure::{Recovered, recovery_s};
use crate::history::Attempt;
use crate::load::{Link, attempt, now_ms};
use crate::mix::Operation;

/// Commands per second, from so many customers, each of whom waits for the answer before the next one.
const RATE: f64 = 300.0;
const CUSTOMERS: usize = 150;
/// How long the load is sent before the kill.
const BEFORE: Duration = Duration::from_secs(3);
/// And after it: longer than any takeover may take.
const AFTER: Duration = Duration::from_secs(40);
/// Longest wait for one answer; longer than the gateway's own.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// What a takeover may take beyond the session timeout, after which the broker notices the death.
const BEYOND_SESSION_S: f64 = 1.0;

/// Seconds from the kill until there was an answer in every partition that had one before.
pub fn measure(nodes: &Nodes, size: u64) -> Result<Row> {
    let session = Settings::default().session_timeout;
    let (owner, _) = nodes.start("a")?;
    let (heir, seconds) = nodes.start("b")?;
    println!("the second node has its partitions after {seconds:.1} s");
    [&owner, &heir].into_iter().for_each(settle);
    let address = nodes.gateway.address;
    let load = std::thread::spawn(move || load(address));
    sleep(BEFORE);
    drop(owner);
    let killed_ms = now_ms();
    let attempts = load.join().ok().context("the load panicked")??;
    heir.stop()?;
    // Until then the broker takes the heir for alive, and a node that starts gets no partition of it.
    sleep(session + Duration::from_secs(1));
    let answered = |later: bool| {
        let decided = attempts.iter().filter(|attempt| attempt.outcome.is_decided());
        let then = decided.filter(|attempt| (attempt.ended_ms > killed_ms) == later);
        then.filter_map(|attempt| Some(attempt.position.as_ref()?.split_once('@')?.0)).collect::<BTreeSet<_>>()
    };
    let (before, after) = (answered(false), answered(true));
    ensure!(before.is_subset(&after), "no answer within {AFTER:?} in {:?}", before.difference(&after));
    let seconds = recovery_s(&attempts, killed_ms, &Recovered::EachPartition);
    let seconds = seconds.context("nothing was answered after the kill")?;
    let bar = session.as_secs_f64() + BEYOND_SESSION_S;
    Ok(Row::new("takeover", size, "s", &[seconds], Some(bar)))
}

fn load(address: SocketAddr) -> Result<Vec<Attempt>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    let attempts = Rc::new(RefCell::new(Vec::new()));
    let local = LocalSet::new();
    for customer in 0..CUSTOMERS {
        local.spawn_local(buy(address, customer, Rc::clone(&attempts)));
    }
    runtime.block_on(local);
    let attempts = attempts.take();
    ensure!(!attempts.is_empty(), "nothing was sent");
    Ok(attempts)
}

/// Sends commands, and asks again with the same key until the answer is definite.
async fn buy(address: SocketAddr, customer: usize, attempts: Rc<RefCell<Vec<Attempt>>>) {
    let (mut link, begun) = (Link::default(), Instant::now());
    #[allow(clippy::cast_precision_loss, reason = "customers are few")]
    let (every, mut turn) = (CUSTOMERS as f64 / RATE, customer as f64 / RATE);
    while begun.elapsed() < BEFORE + AFTER {
        tokio::time::sleep_until(begun + Duration::from_secs_f64(turn)).await;
        turn += every;
        let operation = operation(customer);
        loop {
            let attempt = attempt(&[address], &mut link, &operation, PATIENCE).await;
            let again = attempt.wants_repeating() && begun.elapsed() < BEFORE + AFTER;
            attempts.borrow_mut().push(attempt);
            if !again {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// An order, or a delivery of a new SKU: who owns orders may own no stock.
fn operation(customer: usize) -> Operation {
    let key = uuid::Uuid::new_v4().to_string();
    if customer.is_multiple_of(2) {
        let lines = json!([{"sku": "tea", "quantity": 1, "unit_price": 350}]);
        let body = json!({"customer_id": format!("customer-{customer}"), "currency": "EUR", "lines": lines});
        Operation::command(key, "POST", "/v1/orders".into(), body)
    } else {
        let (path, body) = (format!("/v1/stock/sku-{key}/receipts"), json!({"quantity": 1, "reference": key}));
        Operation::command(key, "POST", path, body)
    }
}
