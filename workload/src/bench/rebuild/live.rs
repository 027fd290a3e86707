//! Live traffic: commands at a fixed rate, and after each the page that must show it, from each store in turn.
//!
//! A command is timed from its turn, so that one that found no free connection is not flattered ("coordinated omission", Tene
//! 2013); a page from the command's answer, until it shows the command: that is how long readers are behind. Each counts for
//! what went on at the command's turn.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
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
/// Into so many parts the rounds are dealt out, to see how far a ratio of all of them is to be trusted.
const PARTS: usize = 4;

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

/// Tells the traffic what goes on, and how often that has changed. Clones share.
#[derive(Clone)]
pub struct Stage(Arc<Mutex<(Beside, u32)>>);

impl Stage {
    pub fn new(first: Beside) -> Self {
        Self(Arc::new(Mutex::new((first, 0))))
    }

    pub fn set(&self, beside: Beside) {
        let mut stage = self.0.lock();
        *stage = (beside, stage.1 + 1);
    }

    fn get(&self) -> (Beside, u32) {
        *self.0.lock()
    }
}

/// How long customers waited.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Felt {
    /// Commands, from their turn to their answer.
    pub commands: Took,
    /// By store, from the answer of a command to a page that shows it …
    pub visible: BTreeMap<&'static str, Took>,
    /// … and in all of them.
    pub pages: Took,
}

/// A p99 beside a replay, as a multiple of that while it pauses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Ratio {
    /// Of all rounds.
    pub times: f64,
    /// The same of every fourth round, from the first, second, third and fourth on: the lowest …
    pub lowest: f64,
    /// … and the highest of them.
    pub highest: f64,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Live {
    /// By what went on beside.
    pub felt: BTreeMap<Beside, Felt>,
    /// Commands beside the replay, by the same while it pauses;
    pub commands_ratio: Ratio,
    /// and the same of pages.
    pub pages_ratio: Ratio,
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

/// Microseconds of what was sent in one stretch.
#[derive(Default)]
struct Times {
    /// Which change of the stage began it.
    change: u32,
    commands: Vec<u32>,
    visible: BTreeMap<&'static str, Vec<u32>>,
}

struct Shared {
    plan: Plan,
    bodies: OrderBodies,
    started: Instant,
    next: Cell<u64>,
    stage: Stage,
    times: RefCell<BTreeMap<Beside, Vec<Times>>>,
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
        let times = shared.times.borrow();
        let felt = times.iter().map(|(beside, times)| (*beside, felt(times))).collect();
        let of = |beside| times.get(&beside).map_or_else(Default::default, Vec::as_slice);
        let ratio = |values: fn(&Times) -> Vec<u32>| ratio(of(Beside::Replay), of(Beside::Nothing), values);
        let commands_ratio = ratio(|times| times.commands.clone());
        let pages_ratio = ratio(Times::pages);
        Ok(Live { felt, commands_ratio, pages_ratio, wrong: shared.wrong.get(), shown: shared.shown.take() })
    })
}

/// The time that so much of `times` did not exceed, in milliseconds (nearest rank); 0 of nothing.
fn quantile(times: &mut [u32], share: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let rank = (times.len() as f64 * share).ceil() as usize;
    if times.is_empty() {
        return 0.0;
    }
    let (_, time, _) = times.select_nth_unstable(rank.saturating_sub(1));
    f64::from(*time) / 1_000.0
}

fn took(mut times: Vec<u32>) -> Took {
    let (p50_ms, p99_ms) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    Took { count: times.len() as u64, p50_ms, p99_ms }
}

fn felt(stretches: &[Times]) -> Felt {
    let mut visible = BTreeMap::<_, Vec<u32>>::new();
    for (store, times) in stretches.iter().flat_map(|times| &times.visible) {
        visible.entry(*store).or_default().extend(times);
    }
    Felt {
        commands: took(stretches.iter().flat_map(|times| &times.commands).copied().collect()),
        pages: took(stretches.iter().flat_map(Times::pages).collect()),
        visible: visible.into_iter().map(|(store, times)| (store, took(times))).collect(),
    }
}

/// The p99 of `values` with the replay by that without, stretch by stretch of the rounds.
fn ratio(with: &[Times], without: &[Times], values: fn(&Times) -> Vec<u32>) -> Ratio {
    let p99 = |stretches: &[Times], first, step| {
        quantile(&mut stretches.iter().skip(first).step_by(step).flat_map(values).collect::<Vec<_>>(), 0.99)
    };
    let of = |first, step| p99(with, first, step) / p99(without, first, step);
    let parts = || (0..PARTS.min(without.len())).map(|first| of(first, PARTS));
    Ratio { times: of(0, 1), lowest: parts().fold(f64::INFINITY, f64::min), highest: parts().fold(0.0, f64::max) }
}

async fn send_on(mut connection: Connection, shared: Rc<Shared>) -> Result<()> {
    while shared.stage.get().0 != Beside::End {
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
        let stage = self.stage.get();
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
        self.record(stage, None, answered - turn);
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
        self.record(stage, Some(store), answered.elapsed());
        Ok(())
    }

    /// A command's time, or that of a page of `store`.
    fn record(&self, (beside, change): (Beside, u32), store: Option<&'static str>, took: Duration) {
        if matches!(beside, Beside::Change | Beside::End) {
            return;
        }
        let mut all = self.times.borrow_mut();
        let stretches = all.entry(beside).or_default();
        // What was sent at the end of a stretch may be answered in the next one.
        let at = stretches.iter().rposition(|times| times.change == change).unwrap_or_else(|| {
            stretches.push(Times { change, ..Times::default() });
            stretches.len() - 1
        });
        let times = &mut stretches[at];
        let times = store.map_or(&mut times.commands, |store| times.visible.entry(store).or_default());
        times.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }
}

impl Times {
    /// Of all stores.
    fn pages(&self) -> Vec<u32> {
        self.visible.values().flatten().copied().collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_nearest_rank() {
        let mut times: Vec<u32> = (1..=200).map(|number| 1_000 * number).rev().collect();
        let both = [0.5, 0.99, 1.0].map(|share| quantile(&mut times, share));
        assert!(both.iter().zip([100.0, 198.0, 200.0]).all(|(is, wanted)| (is - wanted).abs() < 1e-9), "{both:?}");
        assert!(quantile(&mut [], 0.99).abs() < f64::EPSILON);
    }

    #[test]
    fn a_ratio_is_that_of_all_rounds_beside_those_of_its_parts() {
        let stretch = |change, time| Times { change, commands: vec![time; 10], visible: BTreeMap::new() };
        let with: Vec<_> = [2_000, 3_000, 2_000, 4_000, 2_000].map(|time| stretch(1, time)).into();
        let without: Vec<_> = [2_000; 5].map(|time| stretch(2, time)).into();
        let Ratio { times, lowest, highest } = ratio(&with, &without, |times| times.commands.clone());
        assert!(
            [times - 2.0, lowest - 1.0, highest - 2.0].iter().all(|off| off.abs() < 1e-9),
            "{times} {lowest} {highest}"
        );
    }
}
