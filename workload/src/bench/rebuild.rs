//! `workload bench rebuild`: views built anew, one of each store, beside live traffic: how fast, whether the forecast was
//! right, what customers felt of it, and whether the result is what the log says.
//!
//! One `lonja serve` on Kafka and the three stores, a history of real baskets, commands at a fixed rate. Each view's replay
//! first goes on and pauses in turn, so that the traffic's latency beside it has a control of the same minutes; then it runs to
//! its end, is compared with the log and promoted, and the former generation is retired.

mod history;
mod live;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;

use self::live::{Beside, Felt, Live, Plan, Ratio, Stage, Took};
use self::watch::{Operators, Replay, Rounds};
use super::report::write_json;
use crate::baskets::Place;
use crate::lonja::Lonja;
use crate::machine::{Machine, peak_memory_mib};
use crate::own;
use crate::process::{Server, free_address};
use crate::stack::Stack;

/// Baskets that are repeated.
const BASKETS: usize = 20_000;
/// How long the shop may take to fold the history for the first time.
const READY_LIMIT: Duration = Duration::from_secs(7_200);
/// Greatest error of a forecast, of the whole duration, once a tenth is done.
const ETA_BAR: f64 = 0.1;
/// By how much of the control's a latency may be greater.
const LATENCY_BAR: f64 = 1.1;

/// What is measured, and where the figures go.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    stack: Stack,
    #[command(flatten)]
    place: Place,
    /// Events in the log, half of them orders
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Commands per second of the live traffic, each followed by a page that must show it
    #[arg(long, default_value_t = 500.0)]
    live_rate: f64,
    /// Most events per second of a replay once the rounds are over [default: as in them, which is Lonja's own pace]
    #[arg(long)]
    rate: Option<u64>,
    #[command(flatten)]
    rounds: Rounds,
    /// Views, in their order: one of each store without it
    #[arg(long, value_name = "VIEW", value_delimiter = ',', default_values = ["order_detail", "stock_level", "activity_feed"])]
    views: Vec<String>,
    /// Seconds without traffic after the first fold, in which databases write what they owe
    #[arg(long, default_value_t = 20.0)]
    settle_seconds: f64,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The `lonja` binary [default: the one beside this program]
    #[arg(long, env = "LONJA_BIN", value_name = "FILE")]
    lonja: Option<PathBuf>,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Events in the log before anything was sent.
    pub events: u64,
    /// Seconds until the shop had folded them all for the first time, in every store at once.
    pub first_fold_seconds: f64,
    /// Each view.
    pub views: Vec<Rebuilt>,
    /// Most memory of the process: before the replays, and after them.
    pub peak_memory_mib: (u64, u64),
}

/// One view.
#[derive(Debug, Serialize)]
pub struct Rebuilt {
    /// Events per second at Lonja's own pace, in the rounds.
    pub pace: f64,
    /// The traffic beside the rounds.
    pub rounds: Live,
    /// From the last round on.
    pub replay: Replay,
    /// The traffic beside that.
    pub live: Live,
}

/// Measures, prints the report, and writes the file.
///
/// # Errors
/// When something does not start or stops, a page does not show what was written before it, or a row is not what the log says.
pub fn run(args: &Args) -> Result<Report> {
    println!("{}", Machine::read());
    let directory = tempfile::tempdir().context("making a directory for state and logs")?;
    let run = format!("rebuild_{}", uuid::Uuid::new_v4().simple());
    let measured = measure(args, &run, directory.path());
    // What was made on the servers goes, whether or not measuring worked; the first error is told.
    let cleaned = own::remove(&args.stack, &run);
    let report = measured?;
    cleaned?;
    let (before, after) = report.peak_memory_mib;
    println!("\npeak memory of the process: {before} MiB before the replays, {after} MiB after them");
    args.json.as_deref().map_or(Ok(()), |file| write_json(file, std::slice::from_ref(&report)))?;
    let traffic = report.views.iter().flat_map(|rebuilt| [&rebuilt.rounds, &rebuilt.live]);
    let wrong: Vec<_> = traffic.filter(|live| live.wrong > 0).map(|live| live.shown.clone()).collect();
    ensure!(wrong.is_empty(), "answers were wrong: {wrong:?}");
    ensure!(report.views.iter().all(|rebuilt| rebuilt.replay.differences == 0), "rows are not what the log says");
    Ok(report)
}

fn measure(args: &Args, run: &str, directory: &Path) -> Result<Report> {
    let apart = args.stack.apart(run);
    let baskets = args.place.read(BASKETS)?;
    own::make_databases(&args.stack, run)?;
    let lonja = Lonja::new(args.lonja.as_deref(), apart.settings()?)?;
    for what in ["topics", "schemas", "views"] {
        lonja.apply(what)?;
    }
    history::fill(&apart, &baskets, args.events)?;
    let operating = free_address()?;
    let started = Instant::now();
    let server = lonja.serve_within(READY_LIMIT, "shop", directory, operating)?;
    let first_fold_seconds = started.elapsed().as_secs_f64();
    println!("folded for the first time in {first_fold_seconds:.0} s");
    std::thread::sleep(Duration::from_secs_f64(args.settle_seconds));
    let operators = Operators::new(operating);
    let before = peak_memory_mib(server.pid());
    let mut views = Vec::new();
    for view in &args.views {
        let ((generation, pace), rounds) = beside(args, &server, |stage| operators.rounds(view, args.rounds, stage))?;
        print_rounds(view, pace, &rounds);
        let (replay, live) = beside(args, &server, |stage| operators.replay(view, generation, args.rate, stage))?;
        print_replay(&replay, &live);
        views.push(Rebuilt { pace, rounds, replay, live });
    }
    let peak_memory_mib = (before, peak_memory_mib(server.pid()));
    server.stop()?;
    Ok(Report { events: args.events, first_fold_seconds, views, peak_memory_mib })
}

/// Does something while live traffic runs, which is told what goes on.
fn beside<T>(args: &Args, server: &Server, deed: impl FnOnce(&Stage) -> Result<T>) -> Result<(T, Live)> {
    let address: SocketAddr = server.address;
    let plan = Plan { address, rate: args.live_rate, key_prefix: uuid::Uuid::new_v4().simple().to_string() };
    let stage = Stage::new(Beside::Change);
    std::thread::scope(|scope| {
        let traffic = scope.spawn(|| live::run(&plan, &stage));
        let done = deed(&stage);
        stage.set(Beside::End);
        let live = traffic.join().map_err(|_| anyhow!("the traffic panicked"))?;
        Ok((done?, live?))
    })
}

fn print_rounds(view: &str, pace: f64, live: &Live) {
    println!("\n{view} at Lonja's own pace: {pace:.0} events/s");
    println!(
        "  p99 beside it / while paused: commands {}, pages {}",
        told(live.commands_ratio),
        told(live.pages_ratio)
    );
    felt_head();
    felt("nothing (paused)", &live.beside(Beside::Nothing));
    felt("the replay", &live.beside(Beside::Replay));
}

fn print_replay(replay: &Replay, live: &Live) {
    let Replay { view, records, records_in_all: _, seconds, eta_error, verify_seconds, rows, differences, promote_ms } =
        replay;
    #[allow(clippy::cast_precision_loss, reason = "a log has far fewer than 2^53 records")]
    let rate = *records as f64 / seconds;
    println!("{view}: {records} events in {seconds:.0} s, {rate:.0}/s");
    println!("  forecast off by {:.1} % ({})", 100.0 * eta_error, verdict(*eta_error <= ETA_BAR));
    println!("  {rows} rows verified in {verify_seconds:.0} s, {differences} differ; promoted in {promote_ms:.0} ms");
    felt_head();
    felt("the comparison", &live.beside(Beside::Comparison));
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "NOT met" }
}

fn told(Ratio { times, lowest, highest }: Ratio) -> String {
    format!("{times:.2} ({lowest:.2}-{highest:.2}; bar <= {LATENCY_BAR}: {})", verdict(times <= LATENCY_BAR))
}

fn felt_head() {
    println!("  live traffic beside     commands   p50 ms   p99 ms   until a page shows it: p50 / p99 ms by store");
}

fn felt(name: &str, felt: &Felt) {
    let visible: Vec<_> =
        felt.visible.iter().map(|(store, took)| format!("{store} {:.1} / {:.1}", took.p50_ms, took.p99_ms)).collect();
    let Took { count, p50_ms, p99_ms } = felt.commands;
    println!("  {name:<20} {count:>11} {p50_ms:>8.2} {p99_ms:>8.2}   {}", visible.join(", "));
}
