//! `workload sell`: real baskets through HTTP into the log and the three stores, and then the question whether all of them
//! say the same.
//!
//! A basket becomes one order of customer `household-N` in USD, its products are `product-N`. Its key is `basket-N` for
//! ever: a sale that was broken off goes on where it stood, and what was sold before is answered again, not sold again.

mod check;
mod sale;

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::baskets::Place;
use crate::lonja::Lonja;
use crate::machine::Machine;
use crate::process::Server;
use crate::stack::Stack;

pub use check::{Checks, DayTotal, check};
pub use sale::{Sale, Sold, sell};

/// How many differences are shown; all of them are counted.
const SHOWN: usize = 20;

/// What to sell, and to whom to say so.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    stack: Stack,
    #[command(flatten)]
    place: Place,
    /// How many baskets, from the beginning of the year
    #[arg(long, default_value_t = 10_000)]
    baskets: usize,
    /// Connections, each with one basket in flight
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// A Lonja that runs, as http://HOST:PORT; else one is started on the stack, and stopped afterwards
    #[arg(long, env = "LONJA_URL", value_name = "URL")]
    url: Option<String>,
    /// The `lonja` binary [default: the one beside this program]
    #[arg(long, env = "LONJA_BIN", value_name = "FILE")]
    lonja: Option<PathBuf>,
    /// Write the outcome as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The outcome, as `--json` writes it.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    machine: String,
    baskets: usize,
    connections: u16,
    seconds: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Requests that were sent again because there was no definite answer.
    retries: u64,
    /// Answers that were given before, to an earlier run.
    replayed: usize,
    #[serde(flatten)]
    checks: &'a Checks,
}

/// Sells and checks.
///
/// # Errors
/// When something cannot be sold or read, or anything differs: after the differences were printed.
pub fn run(args: &Args) -> Result<()> {
    let baskets = args.place.read(args.baskets)?;
    let directory = tempfile::tempdir().context("making a directory for data and logs")?;
    let (address, server) = find_or_start(args, directory.path())?;
    let sale = sell(address, usize::from(args.connections), &baskets)?;
    println!(
        "sold {} baskets in {:.1} s: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {} sent again, {} answered from before",
        baskets.len(),
        sale.seconds,
        sale.per_second(),
        sale.p50_ms,
        sale.p99_ms,
        sale.retries,
        sale.replayed()
    );
    let runtime = tokio::runtime::Runtime::new().context("starting a runtime")?;
    let checks = runtime.block_on(check(&args.stack, args.place.python.as_deref(), &baskets, &sale.sold))?;
    if let Some(server) = server {
        server.stop()?;
    }
    if let Some(file) = &args.json {
        let outcome = Outcome {
            machine: Machine::read().to_string(),
            baskets: baskets.len(),
            connections: args.connections,
            seconds: sale.seconds,
            per_second: sale.per_second(),
            p50_ms: sale.p50_ms,
            p99_ms: sale.p99_ms,
            retries: sale.retries,
            replayed: sale.replayed(),
            checks: &checks,
        };
        let text = serde_json::to_string_pretty(&outcome).context("rendering the outcome")?;
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    print(&checks);
    if checks.differences.is_empty() {
        return Ok(());
    }
    bail!("{} differences", checks.differences.len())
}

fn print(checks: &Checks) {
    println!("log: {} decisions, {} claims, {} void records", checks.decisions, checks.claims, checks.voids);
    println!("orders in the log exactly once, as they were sold: {} of {}", checks.orders_in_log, checks.orders_sold);
    for (view, rows) in &checks.rows {
        println!("rows of {view} equal to the fold of the log: {} of {}", rows.equal, rows.expected);
    }
    println!("{:<12} {:>8} {:>14}   sources that agree", "day", "orders", "US cents");
    for day in &checks.days {
        println!("{:<12} {:>8} {:>14}   {}", day.day, day.orders, day.input, day.agreement());
    }
    for difference in checks.differences.iter().take(SHOWN) {
        println!("DIFFERENT  {difference}");
    }
    if checks.differences.len() > SHOWN {
        println!("… and {} more", checks.differences.len() - SHOWN);
    }
}

fn find_or_start(args: &Args, directory: &Path) -> Result<(SocketAddr, Option<Server>)> {
    if let Some(url) = &args.url {
        let place = url.strip_prefix("http://").with_context(|| format!("{url} is not http://HOST:PORT"))?;
        let mut found =
            place.trim_end_matches('/').to_socket_addrs().with_context(|| format!("looking for {place}"))?;
        return Ok((found.next().with_context(|| format!("{place} leads nowhere"))?, None));
    }
    let lonja = Lonja::new(args.lonja.as_deref(), args.stack.settings()?)?;
    for what in ["topics", "schemas", "views"] {
        lonja.apply(what)?;
    }
    let server = lonja.serve("lonja", directory)?;
    Ok((server.address, Some(server)))
}
