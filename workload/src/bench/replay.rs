//! `workload bench replay`: how fast a view is built from nothing, beside how fast its store takes ready rows.
//!
//! A subject is the projector as it is, on an embedded log that was prepared before; its limit is the same batches, folded
//! beforehand and kept in memory, written by the same statements with nothing else to do. Every measurement is a process and
//! a database of its own. Latencies are of one batch in the store; *per core* is per second of processor time of the process, in all
//! of its threads. *fold* is what one thread does of it in memory: records that were read are decoded and folded into rows.
//!
//! PostgreSQL and memory get the view `order_detail` of 1 M order events (one in ten cancels an order, for which its row is
//! loaded), MongoDB the view `activity_feed` of the same, MySQL `stock_level` of 1 M stock events of 200,000 SKUs.

mod one;
mod prepare;
mod spies;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::report::{Rounds, Row, median, write_json};
use crate::closed_loop::Measured;
use crate::machine::Machine;
use crate::own;
use crate::process;
use crate::stack::Stack;

pub use one::OneArgs;
pub use one::run as run_one;

const BENCH: &str = "replay";
/// Share of its limit that a subject must reach.
const BAR: f64 = 0.6;
/// Events per second that one thread must fold in memory, and those that a core must bring into PostgreSQL.
const FOLD_BAR: f64 = 500_000.0;
const POSTGRES_BAR: f64 = 100_000.0;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Subject {
    /// Records in memory, decoded and folded by one thread into rows in memory
    Fold,
    /// The view in memory
    Memory,
    /// PostgreSQL
    Postgres,
    /// PostgreSQL, ready rows
    PostgresLimit,
    /// MySQL or MariaDB
    Mysql,
    /// MySQL or MariaDB, ready rows
    MysqlLimit,
    /// MongoDB
    Mongo,
    /// MongoDB, ready rows
    MongoLimit,
    /// cqrs-es on PostgreSQL, one view, by its own replay: a tenth of the events
    CqrsEs,
    /// Emmett (Node.js), likewise
    Emmett,
    /// disintegrate, likewise
    Disintegrate,
    /// Debezium's JDBC sink in Kafka Connect, which writes the orders of the very topic to PostgreSQL, and folds nothing
    JdbcSink,
}

impl Subject {
    /// Its name in rows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fold => "fold",
            Self::Memory => "memory",
            Self::Postgres => "postgres",
            Self::PostgresLimit => "postgres-limit",
            Self::Mysql => "mysql",
            Self::MysqlLimit => "mysql-limit",
            Self::Mongo => "mongo",
            Self::MongoLimit => "mongo-limit",
            Self::CqrsEs => "cqrs-es",
            Self::Emmett => "emmett",
            Self::Disintegrate => "disintegrate",
            Self::JdbcSink => "jdbc-sink",
        }
    }

    /// A peer that writes row by row would take its time with all of them.
    fn events(self, args: &Args) -> u64 {
        match self {
            Self::CqrsEs | Self::Emmett | Self::Disintegrate => (args.events / 10).max(1),
            _ => args.events,
        }
    }

    /// A program of its own.
    fn is_peer(self) -> bool {
        matches!(self, Self::CqrsEs | Self::Emmett | Self::Disintegrate | Self::JdbcSink)
    }
}

/// What is measured, and where the figures go.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    stack: Stack,
    /// Which subjects
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "fold,memory,postgres,postgres-limit,mysql,mysql-limit,mongo,mongo-limit,cqrs-es,emmett,disintegrate,jdbc-sink"
    )]
    subjects: Vec<Subject>,
    /// Events that each view folds
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// How often everything is measured
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// The directory with the peers' programs, which `cargo xtask bench` builds [default: the one of this program]
    #[arg(long, env = "LONJA_PEERS", value_name = "DIRECTORY")]
    peers: Option<PathBuf>,
    /// Write the rows as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What the process of one measurement says.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    seconds: f64,
    cpu_seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
    peak_memory_mib: u64,
}

/// The rounds of one subject.
#[derive(Default)]
struct Cell {
    rounds: Rounds,
    per_core: Vec<f64>,
    peak_memory_mib: u64,
}

impl Cell {
    fn add(&mut self, answered: u64, told: &Told) {
        #[allow(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 events")]
        let events = answered as f64;
        let Told { seconds, cpu_seconds, p50_ms, p99_ms, peak_memory_mib } = *told;
        self.rounds.0.push(Measured { answered, per_second: events / seconds, p50_ms, p99_ms });
        self.per_core.push(events / cpu_seconds);
        self.peak_memory_mib = self.peak_memory_mib.max(peak_memory_mib);
    }
}

/// One figure, as `--json` writes it.
#[derive(Serialize)]
struct ReplayRow {
    #[serde(flatten)]
    row: Row,
    /// Events per second of processor time that the process took; not of the store's.
    per_core: f64,
    peak_memory_mib: u64,
}

/// What a peer says.
#[derive(Debug, Deserialize)]
struct PeerTold {
    seconds: f64,
}

/// Measures, prints a table and the bars, and writes the file.
///
/// # Errors
/// When a store or a measurement fails.
pub fn run(args: &Args) -> Result<()> {
    ensure!(!args.subjects.is_empty() && args.rounds > 0 && args.events > 0, "nothing to measure");
    println!("{}", Machine::read());
    let directory = tempfile::tempdir().context("making a directory for the log")?;
    let started = std::time::Instant::now();
    prepare::logs(directory.path(), args.events)?;
    println!(
        "prepared {} order events and as many stock events in {:.0} s",
        args.events,
        started.elapsed().as_secs_f64()
    );
    let mut cells: BTreeMap<Subject, Cell> = BTreeMap::new();
    for _ in 0..args.rounds {
        for &subject in &args.subjects {
            let run = format!("replay_{}", uuid::Uuid::new_v4().simple());
            let told = measure(args, subject, &run, directory.path());
            let remove = if subject == Subject::JdbcSink { own::remove } else { own::remove_databases };
            let cleaned = remove(&args.stack, &run);
            let told = told.with_context(|| format!("measuring {}", subject.name()))?;
            cleaned?;
            cells.entry(subject).or_default().add(subject.events(args), &told);
        }
    }
    report(args, &cells)
}

fn measure(args: &Args, subject: Subject, run: &str, logs: &Path) -> Result<Told> {
    let stack = args.stack.apart(run);
    if subject.is_peer() {
        let peer = process::peer(subject.name(), args.peers.as_deref())?;
        own::make_postgres(&args.stack, run)?;
        let mut command = Command::new(peer);
        command.args(["--postgres", stack.postgres()?, "--replay", &subject.events(args).to_string()]);
        if subject == Subject::JdbcSink {
            let topic = prepare::topic(&stack, subject.events(args))?;
            command.args(["--kafka", stack.kafka()?, "--registry", stack.registry()?, "--topic", &topic]);
        }
        let PeerTold { seconds } = told(&mut command)?;
        // Not all have batches, and their memory is not looked at.
        return Ok(Told { seconds, cpu_seconds: f64::NAN, p50_ms: f64::NAN, p99_ms: f64::NAN, peak_memory_mib: 0 });
    }
    let mut command = Command::new(std::env::current_exe().context("asking for the own path")?);
    command.args(["replay-one", "--subject", subject.name(), "--logs"]).arg(logs);
    match subject {
        Subject::Fold
        | Subject::Memory
        | Subject::CqrsEs
        | Subject::Emmett
        | Subject::Disintegrate
        | Subject::JdbcSink => {}
        Subject::Postgres | Subject::PostgresLimit => {
            own::make_postgres(&args.stack, run)?;
            command.args(["--postgres", stack.postgres()?]);
        }
        Subject::Mysql | Subject::MysqlLimit => {
            own::make_mysql(&args.stack, run)?;
            command.args(["--mysql", stack.mysql()?]);
        }
        Subject::Mongo | Subject::MongoLimit => {
            command.args(["--mongo", stack.mongo()?]);
        }
    }
    told(&mut command)
}

/// What the process of a measurement prints.
fn told<T: serde::de::DeserializeOwned>(command: &mut Command) -> Result<T> {
    let printed = process::output(command)?;
    serde_json::from_str(&printed).with_context(|| format!("reading what it says: {printed}"))
}

fn report(args: &Args, cells: &BTreeMap<Subject, Cell>) -> Result<()> {
    println!(
        "{:<15} {:>12} {:>17} {:>14} {:>13} {:>13} {:>9}",
        "subject", "events/s", "lowest-highest", "events/s/core", "batch p50 ms", "batch p99 ms", "peak MiB"
    );
    let mut rows = Vec::new();
    for (subject, Cell { rounds, per_core, peak_memory_mib }) in cells {
        let (row, per_core, peak_memory_mib) =
            (rounds.row(BENCH, subject.name(), 1), median(per_core.clone()), *peak_memory_mib);
        let (low, high) = rounds.spread();
        println!(
            "{:<15} {:>12.0} {:>17} {per_core:>14.0} {:>13.2} {:>13.2} {peak_memory_mib:>9}",
            row.subject,
            row.per_second,
            format!("{low:.0}-{high:.0}"),
            row.p50_ms,
            row.p99_ms
        );
        rows.push(ReplayRow { row, per_core, peak_memory_mib });
    }
    let verdict = |met: bool| if met { "met" } else { "NOT met" };
    for ReplayRow { row, per_core, .. } in &rows {
        let bar = match row.subject.as_str() {
            "fold" => FOLD_BAR,
            "postgres" => POSTGRES_BAR,
            _ => continue,
        };
        let met = verdict(*per_core >= bar);
        println!("{}: {per_core:.0} events/s/core (bar >= {bar}: {met})", row.subject);
    }
    for ReplayRow { row, .. } in &rows {
        let limit = rows.iter().find(|other| other.row.subject == format!("{}-limit", row.subject));
        if let Some(ReplayRow { row: limit, .. }) = limit {
            let ratio = row.per_second / limit.per_second;
            let met = verdict(ratio >= BAR);
            println!("rate of {} / rate of {}: {ratio:.2} (bar >= {BAR}: {met})", row.subject, limit.subject);
        }
    }
    args.json.as_deref().map_or(Ok(()), |file| write_json(file, &rows))
}
