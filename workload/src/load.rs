//! `workload load`: a mix of commands at a fixed rate, while others break things. What has no definite answer is sent again
//! with the same key until it has one. Everything goes into a history for `workload verify`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::history::{Attempt, Outcome, Recorder, position, token};
use crate::http::{Answer, CONSISTENCY_TOKEN, Connection, IDEMPOTENCY_KEY};
use crate::mix::{Mix, Operation, Sending};

/// Pause before an operation is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// What to send.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where Lonja serves; with several, an operation without a definite answer is sent to the next one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub address: Vec<SocketAddr>,
    /// For how long new operations are begun
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Operations per second; what cannot be begun in time is begun as soon as a connection is free
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// Connections, each with one operation in flight
    #[arg(long, default_value_t = 32)]
    pub connections: usize,
    /// For how long, after that, operations without a definite answer are sent again
    #[arg(long, default_value_t = 60.0)]
    pub settle: f64,
    /// Longest wait for one answer, in seconds; by default longer than the gateway's own limit
    #[arg(long, default_value_t = 10.0)]
    pub answer_timeout: f64,
    /// Instead of the mix a flash sale: many buyers of one SKU, of which so many units arrive one by one
    #[arg(long, value_name = "UNITS")]
    pub flash: Option<u64>,
    /// Chooses the mix
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the history goes
    #[arg(long, value_name = "FILE")]
    pub history: PathBuf,
}

struct Shared {
    args: Args,
    started: Instant,
    next: Cell<u64>,
    mix: RefCell<Mix>,
    recorder: RefCell<Recorder>,
    outcomes: RefCell<BTreeMap<Outcome, u64>>,
    unresolved: Cell<u64>,
}

/// Sends, records, and says what came of it.
///
/// # Errors
/// When the history cannot be written. Answers, whatever they are, are no errors here.
pub fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    let run = uuid::Uuid::new_v4().simple().to_string();
    let recorder = Recorder::create(&args.history)?;
    let mix = Mix::new(&run[..8], args.seed);
    let mix = args.flash.into_iter().fold(mix, Mix::flash);
    let shared = runtime.block_on(async {
        let shared = Rc::new(Shared {
            args: args.clone(),
            started: Instant::now(),
            next: Cell::new(0),
            mix: RefCell::new(mix),
            recorder: RefCell::new(recorder),
            outcomes: RefCell::default(),
            unresolved: Cell::new(0),
        });
        let local = LocalSet::new();
        let workers: Vec<_> = (0..args.connections).map(|_| local.spawn_local(work(Rc::clone(&shared)))).collect();
        local.await;
        for worker in workers {
            worker.await.context("a connection's task panicked")??;
        }
        anyhow::Ok(shared)
    })?;
    let outcomes = shared.outcomes.take();
    let shared = Rc::into_inner(shared).context("every connection has ended")?;
    shared.recorder.into_inner().finish()?;
    println!(
        "{} operations, attempts {outcomes:?}, {} without a definite answer",
        shared.next.get(),
        shared.unresolved.get()
    );
    Ok(())
}

async fn work(shared: Rc<Shared>) -> Result<()> {
    let mut link = Link::default();
    let mut twin = Link::default();
    let last = shared.started + Duration::from_secs_f64(shared.args.seconds);
    loop {
        let number = shared.next.get();
        #[allow(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 operations")]
        let slot = shared.started + Duration::from_secs_f64(number as f64 / shared.args.rate);
        if slot.max(Instant::now()) >= last {
            return Ok(());
        }
        shared.next.set(number + 1);
        sleep_until(slot).await;
        let sending = shared.mix.borrow_mut().choose(number);
        match sending {
            Sending::Once(operation) => send(&shared, &mut link, &operation).await?,
            Sending::Twice(operation) => {
                let (one, other) =
                    tokio::join!(send(&shared, &mut link, &operation), send(&shared, &mut twin, &operation));
                one.and(other)?;
            }
        }
    }
}

/// Sends until there is a definite answer, or the time is over.
async fn send(shared: &Shared, link: &mut Link, operation: &Operation) -> Result<()> {
    let over = shared.started + Duration::from_secs_f64(shared.args.seconds + shared.args.settle);
    loop {
        let attempt =
            attempt(&shared.args.address, link, operation, Duration::from_secs_f64(shared.args.answer_timeout)).await;
        shared.recorder.borrow_mut().add(&attempt)?;
        *shared.outcomes.borrow_mut().entry(attempt.outcome).or_default() += 1;
        if !attempt.wants_repeating() {
            let mut mix = shared.mix.borrow_mut();
            if attempt.outcome == Outcome::Ok && !attempt.is_read() {
                mix.accepted(operation, &attempt.body, attempt.position.as_deref());
            }
            if attempt.outcome.is_decided() && !attempt.is_read() {
                mix.finished(operation.clone());
            }
            return Ok(());
        }
        link.next();
        if Instant::now() >= over {
            shared.unresolved.set(shared.unresolved.get() + 1);
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

/// The way to the service: a connection, and which of its addresses it leads to.
#[derive(Default)]
pub struct Link {
    at: usize,
    open: Option<Connection>,
}

impl Link {
    async fn open(&mut self, addresses: &[SocketAddr]) -> Result<&mut Connection> {
        match &mut self.open {
            Some(open) => Ok(open),
            closed => {
                let address = addresses.get(self.at % addresses.len().max(1)).context("no address")?;
                Ok(closed.insert(Connection::open(*address).await?))
            }
        }
    }

    /// Leads to the next address from now on.
    pub fn next(&mut self) {
        *self = Self { at: self.at + 1, open: None };
    }
}

/// Sends `operation` once and waits so long at most.
pub async fn attempt(addresses: &[SocketAddr], link: &mut Link, operation: &Operation, patience: Duration) -> Attempt {
    let sent_ms = now_ms();
    let (outcome, answer, error) = match link.open(addresses).await {
        // Nobody listens: nothing was sent.
        Err(error) => (Outcome::Failed, None, format!("{error:#}")),
        Ok(open) => match timeout(patience, request(open, operation)).await {
            Ok(Ok(answer)) => (judge(operation, &answer), Some(answer), String::new()),
            Ok(Err(error)) => (Outcome::Unknown, None, format!("{error:#}")),
            Err(_) => (Outcome::Unknown, None, format!("no answer within {patience:?}")),
        },
    };
    if answer.is_none() {
        link.open = None;
    }
    Attempt {
        key: operation.key.clone(),
        method: operation.method.to_owned(),
        path: operation.path.clone(),
        request: operation.body.clone(),
        token: operation.token.clone(),
        outcome,
        status: answer.as_ref().map(|answer| answer.status.as_u16()),
        position: answer.as_ref().and_then(|answer| position(answer.header(&CONSISTENCY_TOKEN)?)),
        replayed: answer.as_ref().is_some_and(|answer| answer.headers.contains_key("idempotent-replayed")),
        body: answer.map_or(error, |answer| String::from_utf8_lossy(&answer.body).into_owned()),
        sent_ms,
        ended_ms: now_ms(),
    }
}

async fn request(connection: &mut Connection, operation: &Operation) -> Result<Answer> {
    let method = Method::from_bytes(operation.method.as_bytes()).context("a method")?;
    let body = if operation.body == Value::Null { Bytes::new() } else { operation.body.to_string().into() };
    match &operation.token {
        None => connection.send(method, &operation.path, &[(IDEMPOTENCY_KEY, &operation.key)], body).await,
        Some(position) => {
            connection.send(method, &operation.path, &[(CONSISTENCY_TOKEN, &token(position))], body).await
        }
    }
}

/// What an answer says of the command, by the promises of the API: a refusal that was recorded carries a position; 503 and
/// other 4xx say that nothing was begun; anything else says nothing. A page that is not there is an answer to a read.
fn judge(operation: &Operation, answer: &Answer) -> Outcome {
    match answer.status {
        StatusCode::OK | StatusCode::NOT_FOUND if operation.token.is_some() => Outcome::Ok,
        _ if operation.token.is_some() => Outcome::Failed,
        status if status.is_success() => Outcome::Ok,
        status if status.is_client_error() && answer.header(&CONSISTENCY_TOKEN).is_some() => Outcome::Refused,
        StatusCode::SERVICE_UNAVAILABLE => Outcome::Failed,
        status if status.is_client_error() => Outcome::Failed,
        _ => Outcome::Unknown,
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
