//! Sending baskets in time order, each until it has an answer.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use hyper::StatusCode;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::json;
use tokio::task::LocalSet;
use uuid::Uuid;

use crate::baskets::{Basket, BasketLine};
use crate::http::{Answer, Connection};

/// How long one basket is tried before the sale is given up.
const TRY_FOR: Duration = Duration::from_secs(60);
/// Pause before a basket is sent again.
const PAUSE: Duration = Duration::from_millis(250);

/// A sale that ended well: every basket has an answer.
#[derive(Debug)]
pub struct Sale {
    /// In the order of the baskets.
    pub sold: Vec<Sold>,
    /// How long it took.
    pub seconds: f64,
    /// Half of the answers took no longer, in milliseconds, tries included.
    pub p50_ms: f64,
    /// 99 of 100 answers took no longer, in milliseconds, tries included.
    pub p99_ms: f64,
    /// Requests that were sent again.
    pub retries: u64,
}

/// An answered basket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sold {
    /// The order that it became.
    pub order_id: Uuid,
    /// Total that was answered, in US cents.
    pub total: i64,
    /// It had been sold to an earlier run.
    pub replayed: bool,
}

impl Sale {
    /// Baskets per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a sale has far fewer than 2^53 baskets")]
        let count = self.sold.len() as f64;
        count / self.seconds
    }

    /// Baskets that an earlier run had sold.
    #[must_use]
    pub fn replayed(&self) -> usize {
        self.sold.iter().filter(|sold| sold.replayed).count()
    }
}

#[derive(Deserialize)]
struct Placed {
    id: Uuid,
    total: Total,
}

#[derive(Deserialize)]
struct Total {
    amount: i64,
    currency: String,
}

struct Counter<'b> {
    address: SocketAddr,
    baskets: &'b [Basket],
    next: Cell<usize>,
    retries: Cell<u64>,
    sold: RefCell<Vec<Option<Sold>>>,
    /// Microseconds.
    latencies: RefCell<Histogram<u64>>,
    progress: ProgressBar,
}

/// Sends `baskets` in their order on so many connections.
///
/// # Errors
/// When a basket is refused, or has no answer within a minute.
pub fn sell(address: SocketAddr, connections: usize, baskets: &[Basket]) -> Result<Sale> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    let progress = ProgressBar::new(baskets.len() as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} baskets  {per_sec}  {msg}  {eta} left");
    progress.set_style(style.context("progress bar")?);
    let counter = Rc::new(Counter {
        address,
        baskets,
        next: Cell::new(0),
        retries: Cell::new(0),
        sold: RefCell::new(vec![None; baskets.len()]),
        latencies: RefCell::new(Histogram::new_with_bounds(1, 120_000_000, 3).context("making a histogram")?),
        progress,
    });
    let started = Instant::now();
    let all = async {
        let workers: Vec<_> = (0..connections).map(|_| serve_customers(Rc::clone(&counter))).collect();
        futures::future::try_join_all(workers).await
    };
    LocalSet::new().block_on(&runtime, all)?;
    let seconds = started.elapsed().as_secs_f64();
    counter.progress.finish_and_clear();
    let sold = counter.sold.take().into_iter().collect::<Option<_>>().context("every basket has been answered")?;
    let latencies = counter.latencies.borrow();
    Ok(Sale {
        sold,
        seconds,
        p50_ms: at(&latencies, 0.5),
        p99_ms: at(&latencies, 0.99),
        retries: counter.retries.get(),
    })
}

fn at(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "microseconds of a latency fit a double exactly")]
    let micros = latencies.value_at_quantile(quantile) as f64;
    micros / 1_000.0
}

async fn serve_customers(counter: Rc<Counter<'_>>) -> Result<()> {
    let mut connection = None;
    while let Some(basket) = counter.baskets.get(counter.next.get()) {
        let index = counter.next.replace(counter.next.get() + 1);
        let started = Instant::now();
        let sold = sell_one(&counter, &mut connection, basket).await;
        let sold = sold.with_context(|| format!("selling basket {}", basket.id))?;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut latencies = counter.latencies.borrow_mut();
        latencies.saturating_record(micros.max(1));
        counter.sold.borrow_mut()[index] = Some(sold);
        counter.progress.inc(1);
        if index.is_multiple_of(500) {
            counter.progress.set_message(format!(
                "p50 {:.2} ms, p99 {:.2} ms",
                at(&latencies, 0.5),
                at(&latencies, 0.99)
            ));
        }
    }
    Ok(())
}

/// Sends one basket until it has a definite answer: with the same key that is safe.
async fn sell_one(counter: &Counter<'_>, connection: &mut Option<Connection>, basket: &Basket) -> Result<Sold> {
    let (key, body) = (format!("basket-{}", basket.id), body(basket));
    let deadline = Instant::now() + TRY_FOR;
    loop {
        let doubt = match attempt(counter.address, connection, &key, body.clone()).await {
            Ok(answer) if answer.status.is_success() => return sold(basket, &answer),
            Ok(answer) if is_definite(answer.status) => {
                bail!("refused with {}: {}", answer.status, String::from_utf8_lossy(&answer.body))
            }
            Ok(answer) => format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
            Err(error) => {
                *connection = None;
                format!("{error:#}")
            }
        };
        ensure!(Instant::now() < deadline, "no answer within {TRY_FOR:?}, at last {doubt}");
        counter.retries.set(counter.retries.get() + 1);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn attempt(address: SocketAddr, connection: &mut Option<Connection>, key: &str, body: Bytes) -> Result<Answer> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(address).await?),
    };
    open.post("/v1/orders", key, body).await
}

/// Whether asking again cannot change the answer.
fn is_definite(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
}

fn body(basket: &Basket) -> Bytes {
    let line = |line: &BasketLine| json!({"sku": format!("product-{}", line.product), "quantity": line.quantity, "unit_price": line.unit_price});
    let lines: Vec<_> = basket.lines.iter().map(line).collect();
    json!({"customer_id": format!("household-{}", basket.household), "currency": "USD", "lines": lines})
        .to_string()
        .into()
}

fn sold(basket: &Basket, answer: &Answer) -> Result<Sold> {
    let placed: Placed = serde_json::from_slice(&answer.body).context("reading the answer")?;
    let replayed = answer.headers.contains_key("idempotent-replayed");
    ensure!(
        placed.total.amount == basket.total() && placed.total.currency == "USD",
        "the answer says {} {}, the basket comes to {} USD cents",
        placed.total.amount,
        placed.total.currency,
        basket.total()
    );
    Ok(Sold { order_id: placed.id, total: placed.total.amount, replayed })
}
