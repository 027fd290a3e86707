//! `workload bench commands`: orders per second and latency over HTTP, of Lonja beside its ceiling and its peer.
//!
//! All subjects run at the same time, each as a process of its own, and take turns: in every round each is measured at each
//! number of connections, and each round begins with another subject, so that noise of the machine meets all of them.
//! One generator serves all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::plot;
use super::report::{Rounds, Row, write_json};
use super::subjects::{Setup, Subject};
use crate::closed_loop::{self, Load};
use crate::machine::Machine;
use crate::own;
use crate::process::Server;
use crate::stack::Stack;

const BENCH: &str = "commands";
/// Connections at which the bars hold.
const BAR_CONNECTIONS: usize = 64;
/// Pause between two measurements, in which the one before comes to rest.
const SETTLE: Duration = Duration::from_millis(500);

/// What is measured, how long, and where the figures go.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    stack: Stack,
    /// Which subjects
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ceiling,kafka,embedded,cqrs-es")]
    subjects: Vec<Subject>,
    /// Connections at once, each with one request in flight
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,256")]
    connections: Vec<usize>,
    /// How often everything is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that each measurement counts
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Seconds of load before each measurement
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Lonja keeps its views in PostgreSQL, MySQL and MongoDB too. Without it they are in memory: measured is the path of
    /// a command, not three databases on the same cores
    #[arg(long)]
    stores: bool,
    /// Write the rows as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the figures
    #[arg(long, value_name = "FILE", default_value = "target/bench-commands.svg")]
    svg: PathBuf,
    /// The `lonja` binary [default: the one beside this program]
    #[arg(long, env = "LONJA_BIN", value_name = "FILE")]
    lonja: Option<PathBuf>,
    /// The `cqrs-es-peer` binary [default: the one beside this program]
    #[arg(long, env = "LONJA_PEER_BIN", value_name = "FILE")]
    peer: Option<PathBuf>,
}

type Cells = BTreeMap<(Subject, usize), Rounds>;

/// Measures, prints a table and the bars, and writes the files.
///
/// # Errors
/// When a subject cannot be started, or one of its answers is not 2xx.
pub fn run(args: &Args) -> Result<()> {
    ensure!(!args.subjects.is_empty() && !args.connections.is_empty() && args.rounds > 0, "nothing to measure");
    let machine = Machine::read();
    println!("{machine}");
    println!("record of an order: {} bytes with key and headers", super::ceiling::sample()?.bytes);
    let directory = tempfile::tempdir().context("making a directory for data and logs")?;
    let run = format!("bench_{}", uuid::Uuid::new_v4().simple());
    let setup = Setup {
        stack: &args.stack,
        apart: &args.stack.apart(&run),
        lonja: args.lonja.as_deref(),
        peer: args.peer.as_deref(),
        with_stores: args.stores,
        run: &run,
        directory: directory.path(),
    };
    let measured = measure(args, &setup);
    // What was made on the servers goes, whether or not measuring worked; the first error is told.
    let cleaned = own::remove(&args.stack, &run);
    let cells = measured?;
    cleaned?;
    report(args, &machine, &cells)
}

fn measure(args: &Args, setup: &Setup) -> Result<Cells> {
    let mut servers = BTreeMap::new();
    for &subject in &args.subjects {
        let server = setup.start(subject).with_context(|| format!("starting {}", subject.name()))?;
        servers.insert(subject, server);
    }
    let total = args.rounds * args.connections.len() * servers.len();
    let progress = ProgressBar::new(total as u64);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}").context("progress bar")?);
    let mut cells = Cells::new();
    for round in 0..args.rounds {
        for &connections in &args.connections {
            let mut turn = args.subjects.clone();
            turn.rotate_left((round) % args.subjects.len());
            for subject in turn {
                progress.set_message(format!("{} with {connections}", subject.name()));
                let server = servers.get_mut(&subject).context("every subject was started")?;
                let measured = measure_one(args, server, setup.run, &format!("{round}-{connections}"), connections);
                let measured = measured.with_context(|| format!("{} with {connections}", subject.name()))?;
                cells.entry((subject, connections)).or_default().0.push(measured);
                progress.inc(1);
            }
        }
    }
    progress.finish_and_clear();
    for (subject, server) in &servers {
        println!("{:<10} peak memory {:>5} MiB", subject.name(), crate::machine::peak_memory_mib(server.pid()));
    }
    Ok(cells)
}

fn measure_one(
    args: &Args,
    server: &mut Server,
    run: &str,
    turn: &str,
    connections: usize,
) -> Result<closed_loop::Measured> {
    std::thread::sleep(SETTLE);
    let measured = closed_loop::run(&Load {
        address: server.address,
        connections,
        warm_up: Duration::from_secs_f64(args.warm_up),
        measured: Duration::from_secs_f64(args.seconds),
        key_prefix: format!("{run}-{turn}"),
    });
    server.check_alive()?;
    measured
}

fn report(args: &Args, machine: &Machine, cells: &Cells) -> Result<()> {
    println!(
        "{:<10} {:>11} {:>10} {:>17} {:>9} {:>9}",
        "subject", "connections", "per second", "lowest-highest", "p50 ms", "p99 ms"
    );
    let mut rows = Vec::new();
    for ((subject, connections), rounds) in cells {
        let row = rounds.row(BENCH, subject.name(), *connections);
        let (low, high) = rounds.spread();
        println!(
            "{:<10} {:>11} {:>10.0} {:>17} {:>9.2} {:>9.2}",
            row.subject,
            row.connections,
            row.per_second,
            format!("{low:.0}-{high:.0}"),
            row.p50_ms,
            row.p99_ms
        );
        rows.push(row);
    }
    for bar in bars(&rows) {
        println!("{bar}");
    }
    if let Some(file) = &args.json {
        write_json(file, &rows)?;
    }
    draw(&args.svg, machine, &rows)
}

fn draw(file: &Path, machine: &Machine, rows: &[Row]) -> Result<()> {
    plot::draw(file, &format!("Orders over HTTP: {} cores, commit {}", machine.cores, machine.commit), rows)?;
    println!("drawn in {}", file.display());
    Ok(())
}

/// What issue and README promise of Lonja on Kafka, and whether it holds here.
fn bars(rows: &[Row]) -> Vec<String> {
    let find =
        |subject: Subject| rows.iter().find(|row| row.subject == subject.name() && row.connections == BAR_CONNECTIONS);
    let (kafka, ceiling, peer) = (find(Subject::Kafka), find(Subject::Ceiling), find(Subject::CqrsEs));
    let mut bars = Vec::new();
    if let (Some(kafka), Some(ceiling)) = (kafka, ceiling) {
        bars.push(bar(
            "rate of kafka / rate of ceiling",
            kafka.per_second / ceiling.per_second,
            |ratio| ratio >= 0.6,
            ">= 0.6",
        ));
        bars.push(bar("p99 of kafka / p99 of ceiling", kafka.p99_ms / ceiling.p99_ms, |ratio| ratio <= 3.0, "<= 3"));
    }
    if let (Some(kafka), Some(peer)) = (kafka, peer) {
        bars.push(bar(
            "rate of kafka / rate of cqrs-es",
            kafka.per_second / peer.per_second,
            |ratio| ratio >= 6.0,
            ">= 6",
        ));
    }
    bars
}

fn bar(what: &str, ratio: f64, holds: impl Fn(f64) -> bool, rule: &str) -> String {
    let verdict = if holds(ratio) { "met" } else { "NOT met" };
    format!("{what} at {BAR_CONNECTIONS} connections: {ratio:.2} (bar {rule}: {verdict})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: Subject, per_second: f64, p99_ms: f64) -> Row {
        Row {
            bench: BENCH,
            subject: subject.name().into(),
            connections: BAR_CONNECTIONS,
            per_second,
            p50_ms: 1.0,
            p99_ms,
        }
    }

    #[test]
    fn a_bar_is_met_or_not() {
        let rows =
            [row(Subject::Ceiling, 1_000.0, 2.0), row(Subject::Kafka, 590.0, 6.0), row(Subject::CqrsEs, 90.0, 9.0)];
        let bars = bars(&rows);
        assert_eq!(bars[0], "rate of kafka / rate of ceiling at 64 connections: 0.59 (bar >= 0.6: NOT met)");
        assert!(bars[1].ends_with("3.00 (bar <= 3: met)"), "{}", bars[1]);
        assert!(bars[2].ends_with("6.56 (bar >= 6: met)"), "{}", bars[2]);
        assert_eq!(super::bars(&rows[..1]), Vec::<String>::new(), "nothing is said of what was not measured");
    }
}
