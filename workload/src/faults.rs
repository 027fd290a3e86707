//! `workload faults`: breaks things on the real stack under load, and judges from outside what came of it.
//!
//! Each row starts a shop of its own, sends a mix of commands and reads while its fault strikes, waits until everything has
//! a definite answer, and asks `workload verify`, which shares nothing with the service but the schemas. Names are those of
//! the fault matrix: `F02-after-append` is one point of F02.

pub mod measure;
pub mod place;
pub mod report;
pub mod servers;
pub mod shop;
pub mod trial;

mod broker;
mod cut;
mod failover;
mod gapless;
mod network;
mod owner;
mod proxy;
mod records;
mod replay;
mod requests;
mod views;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use self::place::Tools;
use self::report::{Line, Verdict};
use self::trial::{Judged, Trial};
use crate::stack::Stack;

/// What to break.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    stack: Stack,
    /// Rows, as `F02-after-append`, or all of a fault, as `F02`; without any, every row
    rows: Vec<String>,
    /// Only the rows that the tests run, too
    #[arg(long, conflicts_with = "rows")]
    quick: bool,
    /// Only say which rows there are
    #[arg(long)]
    list: bool,
    /// Write the table as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One fault.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What strikes.
    pub strikes: &'static str,
    /// Within how many seconds it must have recovered.
    pub bound_s: f64,
    /// Whether the tests run it.
    pub quick: bool,
    /// The invariant that must be found violated, where a rule is switched off.
    pub must_find: Option<&'static str>,
    run: fn(&Tools) -> Result<Judged>,
}

impl Row {
    const fn new(name: &'static str, strikes: &'static str, bound_s: f64, run: fn(&Tools) -> Result<Judged>) -> Self {
        Self { name, strikes, bound_s, quick: false, must_find: None, run }
    }

    const fn quick(self) -> Self {
        Self { quick: true, ..self }
    }

    const fn must_find(self, invariant: &'static str) -> Self {
        Self { must_find: Some(invariant), ..self }
    }

    /// Carries it out.
    #[must_use]
    pub fn judge(&self, tools: &Tools) -> Line {
        let started = Instant::now();
        let judged = (self.run)(tools);
        Line::of(self, judged, started.elapsed().as_secs_f64())
    }

    fn is_named(&self, wanted: &str) -> bool {
        self.name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// Why this machine does not allow a row.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Blocked(pub String);

/// What is to be compared with: the same load, and nothing strikes.
const CONTROL: &str = "control";

/// Every row, in groups.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::new(CONTROL, "nothing", 2.0, |tools| Trial::default().run(tools)).quick(),
        Row::new("no-dedup", "de-duplication is switched off: the verifier must find it", 2.0, owner::no_dedup)
            .quick()
            .must_find("I2"),
    ];
    rows.extend(gapless::rows());
    rows.extend(owner::rows());
    rows.extend(views::rows());
    rows.extend(failover::rows());
    rows.extend(broker::rows());
    rows.extend(cut::rows());
    rows.extend(network::rows());
    rows.extend(proxy::rows());
    rows.extend(records::rows());
    rows.extend(replay::rows());
    rows.extend(requests::rows());
    rows
}

/// Carries out rows, and prints the table.
///
/// # Errors
/// When a row did not pass, or the table cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let rows = wanted(args)?;
    if args.list {
        for Row { name, strikes, bound_s, quick, .. } in &rows {
            println!("{name:<24} {}  {bound_s:>3} s  {strikes}", if *quick { "quick" } else { "     " });
        }
        return Ok(());
    }
    ensure!(cfg!(debug_assertions), "crash points are in debug builds alone: run `cargo xtask faults`");
    let own = std::env::current_exe().context("asking for the own path")?;
    let tools = Tools::beside(&own, args.stack.clone())?;
    let mut lines = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        eprintln!("[{} of {}] {}: {}", number + 1, rows.len(), row.name, row.strikes);
        let line = row.judge(&tools);
        eprintln!("  {line}");
        lines.push(line);
    }
    print!("{}", report::table(&lines));
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&lines).context("rendering the table")?;
        std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    let bad: Vec<_> = lines.iter().filter(|line| line.verdict != Verdict::Passed).map(|line| line.row).collect();
    if bad.is_empty() {
        return Ok(());
    }
    bail!("{} of {} rows did not pass: {}", bad.len(), lines.len(), bad.join(", "))
}

/// A healthy control belongs to every run.
fn wanted(args: &Args) -> Result<Vec<Row>> {
    let all = rows();
    for name in &args.rows {
        ensure!(all.iter().any(|row| row.is_named(name)), "no row is called {name}: see --list");
    }
    let is_wanted = |row: &Row| {
        let named = args.rows.is_empty() || args.rows.iter().any(|name| row.is_named(name));
        row.name == CONTROL || (named && (row.quick || !args.quick))
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_all_its_points_and_no_other_fault() {
        let row = Row::new("F02-after-append", "", 1.0, |_| bail!("not run"));
        assert!(row.is_named("F02") && row.is_named("F02-after-append") && row.is_named("F02-after"));
        assert!(!row.is_named("F0") && !row.is_named("F02-a") && !row.is_named("F03"));
    }

    #[test]
    fn no_two_rows_have_one_name() {
        let names: std::collections::BTreeSet<_> = rows().iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows().len());
    }
}
