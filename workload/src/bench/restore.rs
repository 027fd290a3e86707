//! `workload bench restore`: how soon a node that decides is there (again), what memory it takes, and whether a command costs
//! more the more there is in the log.
//!
//! Measured are processes of `lonja commands` on Kafka, behind a `lonja gateway` that folds no views. The log is filled with
//! orders, each an aggregate of its own, by an owner that asks nobody; its size grows from one measurement to the next. Times are
//! from the start of a process to its `/readyz`. The cost of a command is the processor time of the node that decides, because
//! that is steadier than a rate on a machine that others use, too.

mod grown;
mod nodes;
mod takeover;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use self::grown::Grown;
use self::nodes::Nodes;
use super::report::{median, write_json};
use crate::machine::Machine;
use crate::own;
use crate::stack::Stack;

const BENCH: &str = "restore";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// Restarts on the local disk and on an empty one, and memory
    Restart,
    /// Of two nodes under load, one is killed
    Takeover,
    /// What a command costs at each size of the log
    Cost,
}

/// What is measured, and where the figures go.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    stack: Stack,
    /// Which subjects
    #[arg(long, value_enum, value_delimiter = ',', default_value = "restart,takeover,cost")]
    subjects: Vec<Subject>,
    /// Aggregates at which restarts, memory and takeover are measured
    #[arg(long, default_value_t = 1_000_000)]
    aggregates: u64,
    /// Events in the log at which the cost of a command is measured
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000,10000000")]
    events: Vec<u64>,
    /// How often everything is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Commands per second while their cost is measured
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
    /// Seconds of each load
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Write the rows as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The `lonja` binary [default: the one beside this program]
    #[arg(long, env = "LONJA_BIN", value_name = "FILE")]
    lonja: Option<PathBuf>,
}

/// One figure, as `--json` writes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    bench: &'static str,
    subject: String,
    /// In the log, about.
    events: u64,
    /// Median of the rounds.
    value: f64,
    unit: &'static str,
    lowest: f64,
    highest: f64,
    /// What it must not exceed.
    bar: Option<f64>,
}

impl Row {
    fn new(subject: &str, events: u64, unit: &'static str, rounds: &[f64], bar: Option<f64>) -> Self {
        let lowest = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = rounds.iter().copied().fold(0.0, f64::max);
        let (subject, value) = (subject.to_owned(), median(rounds.to_vec()));
        Self { bench: BENCH, subject, events, value, unit, lowest, highest, bar }
    }

    fn line(&self) -> String {
        let Self { subject, events, value, unit, lowest, highest, bar, .. } = self;
        let bar = bar.map_or_else(String::new, |bar| {
            let verdict = if *value <= bar { "met" } else { "NOT met" };
            format!("  (bar <= {bar}: {verdict})")
        });
        let spread = format!("{lowest:.2}-{highest:.2}");
        format!("{subject:<22} {events:>10} events {value:>10.2} {unit:<5} {spread:>19}{bar}")
    }
}

/// Measures, prints each figure with its bar, and writes the file.
///
/// # Errors
/// When a process cannot be started, or a command is not answered as it must be.
pub fn run(args: &Args) -> Result<()> {
    ensure!(!args.subjects.is_empty() && args.rounds > 0 && args.aggregates > 0, "nothing to measure");
    println!("{}", Machine::read());
    let directory = tempfile::tempdir().context("making a directory for state and logs")?;
    let run = format!("restore_{}", uuid::Uuid::new_v4().simple());
    let measured = measure(args, &run, directory.path());
    // What was made on the servers goes, whether or not measuring worked; the first error is told.
    let cleaned = own::remove(&args.stack, &run);
    let rows = measured?;
    cleaned?;
    println!("\n{}", rows.iter().map(Row::line).collect::<Vec<_>>().join("\n"));
    args.json.as_deref().map_or(Ok(()), |file| write_json(file, &rows))
}

fn measure(args: &Args, run: &str, directory: &std::path::Path) -> Result<Vec<Row>> {
    let wants = |subject| args.subjects.contains(&subject);
    let nodes = Nodes::new(&args.stack, run, args.lonja.as_deref(), directory)?;
    let mut log = Grown::new(&args.stack.apart(run))?;
    let mut sizes = if wants(Subject::Cost) { args.events.clone() } else { Vec::new() };
    let only_cost = !wants(Subject::Restart) && !wants(Subject::Takeover);
    sizes.extend((!only_cost).then_some(args.aggregates));
    sizes.sort_unstable();
    sizes.dedup();
    let mut rows = Vec::new();
    let mut show = |row: Row| {
        println!("{}", row.line());
        rows.push(row);
    };
    for size in sizes {
        log.grow(size)?;
        if size == args.aggregates && wants(Subject::Restart) {
            nodes.restarts(args, size)?.into_iter().for_each(&mut show);
        }
        if size == args.aggregates && wants(Subject::Takeover) {
            show(takeover::measure(&nodes, size)?);
        }
        if wants(Subject::Cost) && args.events.contains(&size) {
            nodes.cost(args, size)?.into_iter().for_each(&mut show);
        }
    }
    rows.extend(growth(&rows));
    Ok(rows)
}

/// By how much a command's cost is another at the last size than at the first.
fn growth(rows: &[Row]) -> Vec<Row> {
    let ratio = |(subject, bar): (&str, Option<f64>)| {
        let of_subject = || rows.iter().filter(|row| row.subject == subject);
        let (first, last) = (of_subject().next()?, of_subject().next_back()?);
        let name = format!("{subject}-growth");
        let row = Row::new(&name, last.events, "times", &[last.value / first.value], bar);
        (first.events < last.events).then_some(row)
    };
    nodes::COSTS.into_iter().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_last_size_by_the_first() {
        let cost = |events, value| Row::new(nodes::COSTS[0].0, events, "us", &[value], None);
        let rows = [cost(100, 50.0), Row::new("other", 1, "s", &[1.0], None), cost(1_000, 52.0), cost(10_000, 60.0)];
        let grown = growth(&rows);
        assert!(grown.len() == 1 && (grown[0].value - 1.2).abs() < 1e-9 && grown[0].events == 10_000, "{grown:?}");
        assert!(grown[0].line().ends_with("(bar <= 1.1: NOT met)"), "{}", grown[0].line());
        assert!(growth(&rows[..2]).is_empty(), "one size is no growth");
    }

    #[test]
    fn a_row_is_the_median_with_its_spread() {
        let row = Row::new("restart", 7, "s", &[3.0, 1.0, 2.0], Some(2.0));
        let json = r#"{"bench":"restore","subject":"restart","events":7,"value":2.0,"unit":"s","lowest":1.0,"highest":3.0,"bar":2.0}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        assert!(row.line().ends_with("(bar <= 2: met)"), "{}", row.line());
    }
}
