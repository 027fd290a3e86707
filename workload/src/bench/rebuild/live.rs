//! Live traffic: commands at a fixed rate, and after each the page that must show it, from each store in turn.
//!
//! A command is timed from its turn, so that one that found no free connection is not flattered ("coordinated omission", Tene
//! 2013); a page from the command's answer, until it shows the command: that is how long readers are behind. Each counts for
//! what went on at the command's turn.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use hdrhistogram::Histogram;
use hyper::Method;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::http::{Answer, CONSISTENCY_TOKEN, Connection};
use crate::order_body::OrderBodies;

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most connections, each with one command and its page in flight.
const CONNECTIONS: usize = 64;
/// SKUs of the deliveries.
const SKUS: u64 = 100;
/// Wrong answers that are told; all are counted.
const SHOWN: usize = 5;

/// What to send.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where Lonja serves.
    pub address: SocketAddr,
    /// Commands per second.
    pub rate: f64,
    /// Begins every `Idempotency-Key` and reference.
    pub key_prefix: String,
}

/// How long something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Took {
    /// How many.
    pub count: u64,
    /// Half of them took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took no longer, in milliseconds.
    pub p99_ms: f64,
}

/// What goes on beside the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Beside {
    Nothing,
    Replay,
    Comparison,
    /// One ends and the next begins: what is sent then counts for none.
    Change,
    /// The traffic is to end.
    End,
}

/// Tells the traffic what goes on. Clones share.
#[derive(Clone)]
pub struct Stage(Arc<Mutex<Beside>>);

impl Stage {
    pub fn new(first: Beside) -> Self {
        Self(Arc::new(Mutex::new(first)))
    }

    pub fn set(&self, beside: Beside) {
        *self.0.lock() = beside;
    }

    fn get(&self) -> Beside {
        *self.0.lock()
    }
}

/// How long customers waited.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Felt {
    /// Commands, from their turn to their answer.
    pub commands: Took,
    /// By store, from the answer of a command to a page that shows it.
    pub visible: BTreeMap<&'static str, Took>,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Live {
    /// By what went on beside.
    pub felt: BTreeMap<Beside, Felt>,
    /// Answers that are not as they must be: failed, late, or without what was written before.
    pub wrong: u64,
    /// Some of them.
    pub shown: Vec<String>,
}

impl Live {
    /// How long customers waited beside that.
    pub fn beside(&self, beside: Beside) -> Felt {
        self.felt.get(&beside).cloned().unwrap_or_default()
    }
}

/// Microseconds.
struct Times {
    commands: Histogram<u64>,
    visible: BTreeMap<&'static str, Histogram<u64>>,
}

struct Shared {
    plan: Plan,
    bodies: OrderBodies,
    started: Instant,
    next: Cell<u64>,
    stage: Stage,
    times: RefCell<BTreeMap<Beside, Times>>,
    wrong: Cell<u64>,
    shown: RefCell<Vec<String>>,
}

/// Sends on the calling thread until the stage says that it is to end.
///
/// # Errors
/// When no connection can be made.
pub fn run(plan: &Plan, stage: &Stage) -> Result<Live> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    LocalSet::new().block_on(&runtime, async {
        let shared = Rc::new(Shared {
            plan: plan.clone(),
            bodies: OrderBodies::new(),
            started: Instant::now(),
            next: Cell::new(0),
            stage: stage.clone(),
            times: RefCell::default(),
            wrong: Cell::new(0),
            shown: RefCell::default(),
        });
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let connection = Connection::open(plan.address).await?;
            connections.spawn_local(send_on(connection, Rc::clone(&shared)));
        }
        while let Some(ended) = connections.join_next().await {
            ended.context("a connection's task panicked")??;
        }
        let felt = shared.times.borrow().iter().map(|(beside, times)| (*beside, times.felt())).collect();
        Ok(Live { felt, wrong: shared.wrong.get(), shown: shared.shown.take() })
    })
}

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).context("making a histogram")
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of a latency fit a double exactly")]
fn took(times: &Histogram<u64>) -> Took {
    let milliseconds = |quantile| times.value_at_quantile(quantile) as f64 / 1_000.0;
    Took { count: times.len(), p50_ms: milliseconds(0.5), p99_ms: milliseconds(0.99) }
}

async fn send_on(mut connection: Connection, shared: Rc<Shared>) -> Result<()> {
    while shared.stage.get() != Beside::End {
        let number = shared.next.replace(shared.next.get() + 1);
        #[allow(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 commands")]
        let turn = shared.started + Duration::from_secs_f64(number as f64 / shared.plan.rate);
        sleep_until(turn).await;
        // The timer ticks in milliseconds: being woken late is not the service's doing.
        let turn = if turn.elapsed() < Duration::from_millis(2) { Instant::now() } else { turn };
        if let Err(error) = shared.one(&mut connection, number, turn).await {
            shared.wrong.set(shared.wrong.get() + 1);
            if shared.shown.borrow().len() < SHOWN {
                shared.shown.borrow_mut().push(format!("{error:#}"));
            }
            connection = Connection::open(shared.plan.address).await?;
        }
    }
    Ok(())
}

impl Shared {
    /// A command, and the page that shows it.
    async fn one(&self, connection: &mut Connection, number: u64, turn: Instant) -> Result<()> {
        let beside = self.stage.get();
        let key = format!("{}-{number}", self.plan.key_prefix);
        let sku = format!("live-{}", number % SKUS);
        let (path, body) = match number % 4 {
            1 => {
                let body = format!(r#"{{"quantity":1,"reference":"{key}"}}"#);
                (format!("/v1/stock/{sku}/receipts"), Bytes::from(body))
            }
            _ => ("/v1/orders".to_owned(), self.bodies.render(number)),
        };
        let answer = within(connection.post(&path, &key, body)).await?;
        let answered = Instant::now();
        let written: Value = read(&path, &answer)?;
        self.record(beside, None, answered - turn)?;
        let token = answer.header(&CONSISTENCY_TOKEN).context("an answer without a token")?.to_owned();
        let id = written["id"].as_str().unwrap_or_default();
        let (store, page) = match number % 4 {
            0 => ("PostgreSQL", format!("/v1/orders/{id}")),
            1 => ("MySQL", format!("/v1/stock/{sku}")),
            2 => ("MongoDB", format!("/v1/activity?subject=order/{id}")),
            _ => ("PostgreSQL (list)", format!("/v1/orders?customer_id=customer-{:07}", number % 10_000_000)),
        };
        let headers = [(CONSISTENCY_TOKEN, token.as_str())];
        let asked = connection.send(Method::GET, &page, &headers, Bytes::new());
        let shown: Value = read(&page, &within(asked).await?)?;
        let shows = match number % 4 {
            0 => shown["id"] == id,
            1 => shown["version"].as_u64() >= written["version"].as_u64(),
            2 => shown["data"][0]["subject"] == format!("order/{id}"),
            _ => shown["data"].as_array().is_some_and(|rows| rows.iter().any(|row| row["id"] == id)),
        };
        anyhow::ensure!(shows, "{page} does not show what was answered before: {shown}");
        self.record(beside, Some(store), answered.elapsed())
    }

    /// A command's time, or that of a page of `store`.
    fn record(&self, beside: Beside, store: Option<&'static str>, took: Duration) -> Result<()> {
        if matches!(beside, Beside::Change | Beside::End) {
            return Ok(());
        }
        let mut all = self.times.borrow_mut();
        let times = match all.entry(beside) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => free.insert(Times { commands: histogram()?, visible: BTreeMap::new() }),
        };
        let times = match store.map(|store| times.visible.entry(store)) {
            None => &mut times.commands,
            Some(Entry::Occupied(there)) => there.into_mut(),
            Some(Entry::Vacant(free)) => free.insert(histogram()?),
        };
        times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        Ok(())
    }
}

impl Times {
    fn felt(&self) -> Felt {
        let visible = self.visible.iter().map(|(store, times)| (*store, took(times))).collect();
        Felt { commands: took(&self.commands), visible }
    }
}

async fn within<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(ANSWER_TIMEOUT, asked).await.with_context(|| format!("no answer within {ANSWER_TIMEOUT:?}"))?
}

fn read(path: &str, answer: &Answer) -> Result<Value> {
    let text = || String::from_utf8_lossy(&answer.body).into_owned();
    anyhow::ensure!(answer.status.is_success(), "{path} answered {}: {}", answer.status, text());
    serde_json::from_slice(&answer.body).with_context(|| format!("{path} answered {}", text()))
}
