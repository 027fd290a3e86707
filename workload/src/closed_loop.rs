//! So many connections, each with one request in flight; what is counted and what is not.
//!
//! One thread drives all connections, so that the generator takes at most one core from what it measures. Without a rate
//! it is a closed loop, which waits for its answers and so hides what an open one would show of stalls: it says how fast the
//! subject is. With a rate every request has its time, and a request that found no free connection is counted from then on
//! ("coordinated omission", Tene 2013): that says how the subject behaves when customers do not wait.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::task::{JoinSet, LocalSet};
use uuid::Uuid;

use crate::http::Connection;
use crate::order_body::{OrderBodies, order_id};

/// Longest wait for one answer. Longer than any subject's own time limit, so that theirs is what is seen.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What to send and for how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where the subject listens.
    pub address: SocketAddr,
    /// Connections, each with one request in flight.
    pub connections: usize,
    /// How long is sent before anything is counted.
    pub warm_up: Duration,
    /// How long is counted.
    pub measured: Duration,
    /// Begins every `Idempotency-Key`: with the counter behind it, a key is used once.
    pub key_prefix: String,
    /// Requests per second; as many as are answered without it.
    pub rate: Option<f64>,
    /// What is asked.
    pub asked: Asked,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Orders, each a new aggregate.
    Orders,
    /// One unit of [`HOT_SKU`]: all of one aggregate.
    HotSku,
    /// That one of so many orders, each as likely, is cancelled; one that is already stays so.
    Cancellations(u64),
}

/// The one SKU that everybody wants.
pub const HOT_SKU: &str = "hot";
const HOT_RESERVATIONS: &str = "/v1/stock/hot/reservations";

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Requests answered with 2xx in the measured time.
    pub answered: u64,
    /// Per second.
    pub per_second: f64,
    /// Half of the answers took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 answers took no longer, in milliseconds.
    pub p99_ms: f64,
}

struct Shared {
    bodies: OrderBodies,
    load: Load,
    started: Instant,
    count_from: Instant,
    until: Instant,
    next: RefCell<u64>,
    /// Microseconds.
    latencies: RefCell<Histogram<u64>>,
}

/// Sends orders as `load` says, on the calling thread.
///
/// # Errors
/// When one answer is not 2xx, late, or the connection breaks: a subject that fails is not measured.
pub fn run(load: &Load) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    let started = Instant::now();
    let count_from = started + load.warm_up;
    let shared = Rc::new(Shared {
        bodies: OrderBodies::new(),
        load: load.clone(),
        started,
        count_from,
        until: count_from + load.measured,
        next: RefCell::new(0),
        latencies: RefCell::new(Histogram::new_with_bounds(1, 60_000_000, 3).context("making a histogram")?),
    });
    LocalSet::new().block_on(&runtime, send_all(&shared))?;
    let latencies = shared.latencies.borrow();
    ensure!(!latencies.is_empty(), "nothing was answered in {:?}", load.measured);
    #[allow(clippy::cast_precision_loss, reason = "microseconds of a latency fit a double exactly")]
    let milliseconds = |quantile| latencies.value_at_quantile(quantile) as f64 / 1_000.0;
    #[allow(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 answers")]
    let per_second = latencies.len() as f64 / load.measured.as_secs_f64();
    Ok(Measured { answered: latencies.len(), per_second, p50_ms: milliseconds(0.5), p99_ms: milliseconds(0.99) })
}

async fn send_all(shared: &Rc<Shared>) -> Result<()> {
    let mut connections = JoinSet::new();
    for _ in 0..shared.load.connections {
        let connection = Connection::open(shared.load.address).await?;
        connections.spawn_local(send_on(connection, Rc::clone(shared)));
    }
    while let Some(ended) = connections.join_next().await {
        ended.context("a connection's task panicked")??;
    }
    Ok(())
}

async fn send_on(mut connection: Connection, shared: Rc<Shared>) -> Result<()> {
    loop {
        let number = shared.next.replace_with(|next| *next + 1);
        let sent = shared.turn(number).await;
        if sent >= shared.until {
            return Ok(());
        }
        let key = format!("{}-{number}", shared.load.key_prefix);
        let (path, body) = shared.request(&key, number);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, connection.post(&path, &key, body)).await;
        let answer = answer.with_context(|| format!("no answer within {ANSWER_TIMEOUT:?}"))??;
        let now = Instant::now();
        if !answer.status.is_success() {
            bail!("answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        if (shared.count_from..shared.until).contains(&now) {
            let micros = u64::try_from((now - sent).as_micros()).unwrap_or(u64::MAX);
            shared.latencies.borrow_mut().saturating_record(micros.max(1));
        }
    }
}

impl Shared {
    /// Waits for the turn of a request, and says when it was: earlier than now for one that found no free connection.
    async fn turn(&self, number: u64) -> Instant {
        let Some(rate) = self.load.rate else { return Instant::now() };
        #[allow(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 requests")]
        let due = self.started + Duration::from_secs_f64(number as f64 / rate);
        if due <= Instant::now() {
            return due;
        }
        // The timer ticks in milliseconds: being woken late is not the subject's doing.
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }

    fn request(&self, key: &str, number: u64) -> (Cow<'static, str>, Bytes) {
        match self.load.asked {
            Asked::Orders => ("/v1/orders".into(), self.bodies.render(number)),
            Asked::HotSku => (HOT_RESERVATIONS.into(), format!(r#"{{"reservation_id":"{key}","quantity":1}}"#).into()),
            Asked::Cancellations(orders) => {
                // Chosen by the key, so that no two loads choose alike.
                let chance = Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes()).as_u64_pair().0;
                let path = format!("/v1/orders/{}/cancel", order_id(chance % orders));
                (path.into(), Bytes::from_static(br#"{"reason":"changed my mind"}"#))
            }
        }
    }
}
