//! One measurement, in a process of its own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use eventlog::embedded::EmbeddedLog;
use eventlog::{EventLog, Partition, Tail};
use indicatif::{ProgressBar, ProgressStyle};
use projections::generations::Scope;
use projections::pace::Pace;
use projections::projector::{BATCH_EVENTS, Context as Projection, Projector};
use projections::store::Store;
use projections::stores::ServerStore;
use projections::stores::memory::{MemoryStore, MemoryView};
use projections::stores::mongo::MongoStore;
use projections::stores::mysql::MysqlStore;
use projections::stores::postgres::PostgresStore;
use projections::stores::{Stores, StoresConfig};
use projections::view::View;
use projections::views::{Activity, OrderDetail, StockLevel};
use projections::{Progress, ViewState, layout};
use schemas::topics::{ALL, ORDER, STOCK};
use schemas::{Codec, Topic};
use tokio_util::sync::CancellationToken;

use super::spies::{Clock, Recorded, Timed};
use super::{Subject, Told, prepare};
use crate::machine::{cpu_seconds, peak_memory_mib};

/// How often is looked how far it is.
const LOOK: Duration = Duration::from_millis(20);

/// `workload replay-one`: started by the bench.
#[derive(Debug, clap::Args)]
pub struct OneArgs {
    #[arg(long, value_enum)]
    subject: Subject,
    /// Where the logs were prepared
    #[arg(long)]
    logs: PathBuf,
    #[arg(long)]
    postgres: Option<String>,
    #[arg(long)]
    mysql: Option<String>,
    #[arg(long)]
    mongo: Option<String>,
}

/// Measures and prints one object of JSON.
///
/// # Errors
/// When the store does not answer or the view stops.
pub fn run(args: &OneArgs) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting a runtime")?;
    let told = runtime.block_on(measure(args))?;
    println!("{}", serde_json::to_string(&told).context("rendering the figures")?);
    Ok(())
}

async fn measure(args: &OneArgs) -> Result<Told> {
    let (postgres, mysql, mongo) = (args.postgres.clone(), args.mysql.clone(), args.mongo.clone());
    let config = StoresConfig { postgres, mysql, mongo, ..StoresConfig::default() };
    let stores = Stores::new(&config).await?;
    layout::apply(&stores).await.context("making tables")?;
    let postgres = || PostgresStore::<OrderDetail>::among(&stores).context("--postgres is needed");
    let mysql = || MysqlStore::<StockLevel>::among(&stores).context("--mysql is needed");
    let mongo = || MongoStore::<Activity>::among(&stores).context("--mongo is needed");
    let (orders, stock) = (&ORDER, &STOCK);
    let (took, clock) = match args.subject {
        Subject::Fold => fold::<OrderDetail>(args, orders),
        Subject::Memory => replay::<OrderDetail, _>(args, orders, MemoryStore::default()).await,
        Subject::Postgres => replay::<OrderDetail, _>(args, orders, postgres()?).await,
        Subject::PostgresLimit => limit::<OrderDetail, _>(args, orders, postgres()?).await,
        Subject::Mysql => replay::<StockLevel, _>(args, stock, mysql()?).await,
        Subject::MysqlLimit => limit::<StockLevel, _>(args, stock, mysql()?).await,
        Subject::Mongo => replay::<Activity, _>(args, orders, mongo()?).await,
        Subject::MongoLimit => limit::<Activity, _>(args, orders, mongo()?).await,
        Subject::CqrsEs | Subject::Emmett | Subject::Disintegrate | Subject::JdbcSink => {
            bail!("{} is a program of its own", args.subject.name())
        }
    }?;
    let peak_memory_mib = peak_memory_mib(std::process::id());
    let Took { seconds, cpu_seconds } = took;
    Ok(Told { seconds, cpu_seconds, p50_ms: clock.at(0.5), p99_ms: clock.at(0.99), peak_memory_mib })
}

/// A time span.
struct Took {
    seconds: f64,
    /// Of the processor, for this process.
    cpu_seconds: f64,
}

/// A time span that goes on.
struct Since(Instant, f64);

impl Since {
    fn now() -> Self {
        Self(Instant::now(), cpu_seconds(std::process::id()))
    }

    fn took(&self) -> Took {
        Took { seconds: self.0.elapsed().as_secs_f64(), cpu_seconds: cpu_seconds(std::process::id()) - self.1 }
    }
}

/// The projector from an empty checkpoint to the end of the log of `topic`.
async fn replay<V: View, S: Store<V>>(args: &OneArgs, topic: &'static Topic, store: S) -> Result<(Took, Clock)> {
    let log = EmbeddedLog::open(&prepare::log_of(&args.logs, topic), ALL).context("opening the log")?;
    let ends = Partition::all(topic).map(|partition| anyhow::Ok((partition, log.end(partition)?)));
    let ends: Vec<(Partition, u64)> = ends.collect::<Result<_>>()?;
    let clock = Clock::new().context("making a histogram")?;
    let timed = Timed { store, clock: clock.clone() };
    ensure!(timed.open().await?.is_empty(), "the store has checkpoints already");
    let context = Projection {
        log: Arc::new(log),
        codec: Arc::new(Codec::local()),
        progress: Progress::default(),
        batch_events: BATCH_EVENTS,
        pace: Pace::Unbounded,
        scope: Scope::default(),
        shutdown: CancellationToken::new(),
    };
    let bar = ProgressBar::new(ends.iter().map(|(_, end)| end).sum());
    bar.set_style(
        ProgressStyle::with_template("{msg:<15} {bar:30} {pos}/{len} {per_sec} {eta}").context("progress bar")?,
    );
    bar.set_message(args.subject.name());
    let started = Since::now();
    let running = Projector::<V, _>::new(context.clone(), timed).spawn();
    loop {
        let reached = context.progress.reflects(V::NAME);
        let next = |partition| reached.iter().find(|(at, _)| *at == partition).map_or(0, |(_, next)| *next);
        bar.set_position(ends.iter().map(|(partition, _)| next(*partition)).sum());
        if ends.iter().all(|(partition, end)| next(*partition) >= *end) {
            break;
        }
        if let Some(ViewState::Stopped { reason } | ViewState::Retrying { reason }) = context.progress.state(V::NAME) {
            bail!("the view does not move: {reason}");
        }
        tokio::time::sleep(LOOK).await;
    }
    let took = started.took();
    bar.finish_and_clear();
    context.shutdown.cancel();
    running.await.map_err(|error| anyhow!("the projector panicked: {error}"))?;
    Ok((took, clock))
}

/// The fold alone, on one thread: records that are in memory are decoded and folded into rows in memory. Reading them from the
/// log by the reader's rule, between two batches, does not count.
fn fold<V: View>(args: &OneArgs, topic: &'static Topic) -> Result<(Took, Clock)> {
    let log = EmbeddedLog::open(&prepare::log_of(&args.logs, topic), ALL).context("opening the log")?;
    let (codec, clock) = (Codec::local(), Clock::new().context("making a histogram")?);
    let partitions: Vec<_> = Partition::all(topic).map(|partition| (partition, None)).collect();
    let mut tail = Tail::open(&log, &partitions).context("opening the log")?;
    let (mut rows, mut took) = (HashMap::<V::Key, Option<V>>::new(), Duration::ZERO);
    loop {
        let records = tail.poll(BATCH_EVENTS, Duration::ZERO).context("reading the log")?;
        if records.is_empty() {
            break;
        }
        let started = Instant::now();
        for record in &records {
            let Some(event) = V::decode(&codec, record).context("decoding a record")? else { continue };
            let row = rows.entry(V::key_of(&event)).or_default();
            *row = V::fold(row.take(), &event);
        }
        took += started.elapsed();
        clock.record(started);
    }
    let read: u64 = partitions.iter().map(|(partition, _)| tail.next(*partition)).sum();
    let ends = partitions.iter().map(|(partition, _)| log.end(*partition));
    ensure!(read == ends.sum::<Result<u64, _>>()?, "the log was not read to its end");
    let seconds = took.as_secs_f64();
    Ok((Took { seconds, cpu_seconds: seconds }, clock))
}

/// The same batches, ready, and nothing but writing them.
async fn limit<V: MemoryView, S: Store<V>>(args: &OneArgs, topic: &'static Topic, store: S) -> Result<(Took, Clock)> {
    let recorded = Recorded::<V>::default();
    replay::<V, _>(args, topic, recorded.clone()).await.context("folding beforehand")?;
    let batches = recorded.take();
    drop(recorded);
    let clock = Clock::new().context("making a histogram")?;
    let timed = Timed { store, clock: clock.clone() };
    ensure!(timed.open().await?.is_empty(), "the store has checkpoints already");
    let started = Since::now();
    for batch in batches {
        timed.commit(batch).await?;
    }
    Ok((started.took(), clock))
}
