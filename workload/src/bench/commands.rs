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
use crate::closed_loop::{self, Asked, Load};
use crate::machine::Machine;
use crate::own;
use crate::process::Server;
use crate::stack::Stack;

const BENCH: &str = "commands";
/// The rows at fixed rates.
const AT_RATE: &str = "commands-at-rate";
/// Those that are measured at fixed rates.
const AT_RATE_SUBJECTS: [Subject; 3] = [Subject::Ceiling, Subject::Kafka, Subject::Transactions];
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
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ceiling,kafka,hot-sku,transactions,embedded,cqrs-es"
    )]
    subjects: Vec<Subject>,
    /// Connections at once, each with one request in flight
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,256")]
    connections: Vec<usize>,
    /// Requests per second at a fixed rate, each from its own time on, at 64 connections; a share of 1 or less is one of
    /// what the subject did in the closed loop
    #[arg(long, value_delimiter = ',', default_value = "500,0.5")]
    rates: Vec<f64>,
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
    /// The directory with the `cqrs-es-peer` binary [default: the one of this program]
    #[arg(long, env = "LONJA_PEERS", value_name = "DIRECTORY")]
    peers: Option<PathBuf>,
}

/// In the closed loop, by connections; and at fixed rates, by the place in `--rates`.
#[derive(Default)]
struct Cells {
    closed: BTreeMap<(Subject, usize), Rounds>,
    at_rate: BTreeMap<(Subject, usize), Rounds>,
}

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
        peers: args.peers.as_deref(),
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
    let steady = || args.subjects.iter().filter(|subject| AT_RATE_SUBJECTS.contains(subject));
    let each_round = args.connections.len() * servers.len() + args.rates.len() * steady().count();
    let progress = ProgressBar::new((args.rounds * each_round) as u64);
    progress.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}").context("progress bar")?);
    let mut cells = Cells::default();
    for round in 0..args.rounds {
        let mut turn = args.subjects.clone();
        turn.rotate_left(round % args.subjects.len());
        let mut measure = |subject: Subject, key: String, connections, rate| {
            progress.set_message(format!("{} with {connections}", subject.name()));
            let server = servers.get_mut(&subject).context("every subject was started")?;
            let load = load(args, server, subject, format!("{}-{round}-{key}", setup.run), connections, rate);
            let measured = measure_one(server, &load);
            progress.inc(1);
            measured.with_context(|| format!("{} with {connections}", subject.name()))
        };
        for &connections in &args.connections {
            for &subject in &turn {
                let measured = measure(subject, connections.to_string(), connections, None)?;
                cells.closed.entry((subject, connections)).or_default().0.push(measured);
            }
        }
        for (at, &rate) in args.rates.iter().enumerate() {
            for &subject in turn.iter().filter(|subject| AT_RATE_SUBJECTS.contains(subject)) {
                let Some(closed) = cells.closed.get(&(subject, BAR_CONNECTIONS)) else { continue };
                let rate = if rate <= 1.0 { rate * closed.median(|round| round.per_second) } else { rate };
                let measured = measure(subject, format!("rate-{at}"), BAR_CONNECTIONS, Some(rate))?;
                cells.at_rate.entry((subject, at)).or_default().0.push(measured);
            }
        }
    }
    progress.finish_and_clear();
    for (subject, server) in &servers {
        println!("{:<12} peak memory {:>5} MiB", subject.name(), crate::machine::peak_memory_mib(server.pid()));
    }
    Ok(cells)
}

fn load(
    args: &Args,
    server: &Server,
    subject: Subject,
    key_prefix: String,
    connections: usize,
    rate: Option<f64>,
) -> Load {
    Load {
        address: server.address,
        connections,
        warm_up: Duration::from_secs_f64(args.warm_up),
        measured: Duration::from_secs_f64(args.seconds),
        key_prefix,
        rate,
        asked: if subject == Subject::HotSku { Asked::HotSku } else { Asked::Orders },
    }
}

fn measure_one(server: &mut Server, load: &Load) -> Result<closed_loop::Measured> {
    std::thread::sleep(SETTLE);
    let measured = closed_loop::run(load);
    server.check_alive()?;
    measured
}

fn report(args: &Args, machine: &Machine, cells: &Cells) -> Result<()> {
    println!(
        "{:<12} {:>11} {:>10} {:>17} {:>9} {:>9}",
        "subject", "connections", "per second", "lowest-highest", "p50 ms", "p99 ms"
    );
    let closed =
        print_rows(BENCH, cells.closed.iter().map(|((subject, connections), rounds)| (*subject, *connections, rounds)));
    println!("at fixed rates, each request from its own time on:");
    let at_rate =
        print_rows(AT_RATE, cells.at_rate.iter().map(|((subject, _), rounds)| (*subject, BAR_CONNECTIONS, rounds)));
    for bar in bars(&closed) {
        println!("{bar}");
    }
    if let Some(file) = &args.json {
        write_json(file, &[&closed[..], &at_rate].concat())?;
    }
    draw(&args.svg, machine, &closed)
}

fn print_rows<'r>(bench: &'static str, rows: impl Iterator<Item = (Subject, usize, &'r Rounds)>) -> Vec<Row> {
    let mut printed = Vec::new();
    for (subject, connections, rounds) in rows {
        let row = rounds.row(bench, subject.name(), connections);
        let (low, high) = rounds.spread();
        println!(
            "{:<12} {:>11} {:>10.0} {:>17} {:>9.2} {:>9.2}",
            row.subject,
            row.connections,
            row.per_second,
            format!("{low:.0}-{high:.0}"),
            row.p50_ms,
            row.p99_ms
        );
        printed.push(row);
    }
    printed
}

fn draw(file: &Path, machine: &Machine, rows: &[Row]) -> Result<()> {
    plot::draw(file, &format!("Orders over HTTP: {} cores, commit {}", machine.cores, machine.commit), rows)?;
    println!("drawn in {}", file.display());
    Ok(())
}

/// What is promised of Lonja on Kafka, and whether it holds here.
fn bars(rows: &[Row]) -> Vec<String> {
    use Subject::{Ceiling, CqrsEs, HotSku, Kafka};
    let find =
        |subject: Subject| rows.iter().find(|row| row.subject == subject.name() && row.connections == BAR_CONNECTIONS);
    let mut bars = Vec::new();
    let mut compare = |one: Subject, other: Subject, what: &str, figure: fn(&Row) -> f64, rule: Rule| {
        if let (Some(a), Some(b)) = (find(one), find(other)) {
            let what = format!("{what} of {} / {what} of {}", one.name(), other.name());
            bars.push(bar(&what, figure(a) / figure(b), rule));
        }
    };
    compare(Kafka, Ceiling, "rate", |row| row.per_second, Rule::AtLeast(0.85));
    compare(Kafka, Ceiling, "p50", |row| row.p50_ms, Rule::AtMost(1.3));
    compare(Kafka, Ceiling, "p99", |row| row.p99_ms, Rule::AtMost(1.6));
    compare(Kafka, CqrsEs, "rate", |row| row.per_second, Rule::AtLeast(6.0));
    compare(HotSku, Kafka, "rate", |row| row.per_second, Rule::AtLeast(0.5));
    bars
}

/// A bar.
#[derive(Clone, Copy)]
enum Rule {
    AtLeast(f64),
    AtMost(f64),
}

fn bar(what: &str, ratio: f64, rule: Rule) -> String {
    let (holds, rule) = match rule {
        Rule::AtLeast(least) => (ratio >= least, format!(">= {least}")),
        Rule::AtMost(most) => (ratio <= most, format!("<= {most}")),
    };
    let verdict = if holds { "met" } else { "NOT met" };
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
        assert_eq!(bars[0], "rate of kafka / rate of ceiling at 64 connections: 0.59 (bar >= 0.85: NOT met)");
        assert!(bars[1].ends_with("1.00 (bar <= 1.3: met)"), "{}", bars[1]);
        assert!(bars[2].ends_with("3.00 (bar <= 1.6: NOT met)"), "{}", bars[2]);
        assert!(bars[3].ends_with("6.56 (bar >= 6: met)"), "{}", bars[3]);
        assert_eq!(super::bars(&rows[..1]), Vec::<String>::new(), "nothing is said of what was not measured");
    }
}
