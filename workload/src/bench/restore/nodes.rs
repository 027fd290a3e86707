//! The processes that are measured, and the measurements of one that is alone.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Args, Row};
use crate::closed_loop::{self, Asked, Load};
use crate::lonja::Lonja;
use crate::machine::{cpu_seconds, peak_memory_mib};
use crate::own;
use crate::process::Server;
use crate::stack::Stack;

/// What is promised at 1 M aggregates.
const LOCAL_DISK_S: f64 = 5.0;
const EMPTY_DISK_S: f64 = 20.0;
const MEMORY_MIB: f64 = 300.0;
/// The costs of which the growth is told, and by how much it may be: a new order, which needs nothing that is there, and the
/// end of any order, which reads that one.
pub const COSTS: [(&str, Option<f64>); 2] = [("cost-of-new", Some(1.1)), ("cost-of-existing", Some(1.1))];
/// Requests at once.
const CONNECTIONS: usize = 64;
/// Longest wait for a node that restores the whole log.
const READY_LIMIT: Duration = Duration::from_secs(900);
/// A node that takes less of a core does nothing but wait …
const IDLE: f64 = 0.15;
/// … over so long. Waiting for that ends after a while.
const LOOK: Duration = Duration::from_secs(1);
const SETTLE_LIMIT: Duration = Duration::from_secs(120);

pub struct Nodes {
    workers: Lonja,
    directory: PathBuf,
    pub gateway: Server,
}

impl Nodes {
    /// Prepares topics, schemas and empty views, and starts a gateway.
    pub fn new(stack: &Stack, run: &str, lonja: Option<&Path>, directory: &Path) -> Result<Self> {
        let apart = stack.apart(run);
        let workers = Lonja::new(lonja, apart.log_settings()?)?;
        workers.apply("topics")?;
        workers.apply("schemas")?;
        // Views in databases that nobody folds: in memory the gateway would fold them itself.
        own::make_databases(stack, run)?;
        let with_stores = Lonja::new(lonja, apart.settings()?)?;
        with_stores.apply("views")?;
        let gateway = with_stores.gateway("gateway", directory)?;
        Ok(Self { workers, directory: directory.to_owned(), gateway })
    }

    /// Starts a node and says how many seconds it took to be ready.
    pub fn start(&self, name: &str) -> Result<(Server, f64)> {
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").context("progress bar")?);
        bar.set_message(format!("waiting for node {name}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let started = Instant::now();
        let server = self.workers.commands(name, &self.directory, READY_LIMIT)?;
        bar.finish_and_clear();
        Ok((server, started.elapsed().as_secs_f64()))
    }

    /// Restarts, and the memory that it took at most: to restore everything, and after any of the aggregates were wanted.
    pub fn restarts(&self, args: &Args, size: u64) -> Result<Vec<Row>> {
        let (mut empty, mut local, mut restored, mut used) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            self.forget("a")?;
            let (server, seconds) = self.start("a")?;
            empty.push(seconds);
            settle(&server);
            restored.push(memory(&server));
            self.load(args, Asked::Cancellations(size), None)?;
            used.push(memory(&server));
            server.stop()?;
            let (server, seconds) = self.start("a")?;
            local.push(seconds);
            server.stop()?;
        }
        let row = |subject, unit, rounds: &[f64], bar| Row::new(subject, size, unit, rounds, Some(bar));
        Ok(vec![
            row("restart-empty-disk", "s", &empty, EMPTY_DISK_S),
            row("restart-local-disk", "s", &local, LOCAL_DISK_S),
            row("memory-after-restore", "MiB", &restored, MEMORY_MIB),
            row("memory-after-commands", "MiB", &used, MEMORY_MIB),
        ])
    }

    /// Microseconds of processor time of the node per command, at a fixed rate, and commands per second without one.
    pub fn cost(&self, args: &Args, size: u64) -> Result<Vec<Row>> {
        let (server, seconds) = self.start("a")?;
        println!("ready in {seconds:.1} s");
        settle(&server);
        let asked = [Asked::Orders, Asked::Cancellations(size)];
        let (mut costs, mut rate) = ([Vec::new(), Vec::new()], Vec::new());
        // Once to get warm.
        for round in 0..=args.rounds {
            for (asked, costs) in asked.into_iter().zip(&mut costs) {
                let before = cpu_seconds(server.pid());
                let answered = self.load(args, asked, Some(args.rate))?.0;
                let micros = (cpu_seconds(server.pid()) - before) * 1e6 / answered;
                costs.extend((round > 0).then_some(micros));
            }
        }
        for _ in 0..args.rounds {
            rate.push(self.load(args, Asked::Orders, None)?.1);
            settle(&server);
        }
        let memory = [memory(&server)];
        server.stop()?;
        let mut rows = vec![
            Row::new("commands-per-second", size, "/s", &rate, None),
            Row::new("memory", size, "MiB", &memory, None),
        ];
        rows.extend(COSTS.iter().zip(&costs).map(|((subject, _), costs)| Row::new(subject, size, "us", costs, None)));
        Ok(rows)
    }

    /// How many were answered, and how many per second.
    fn load(&self, args: &Args, asked: Asked, rate: Option<f64>) -> Result<(f64, f64)> {
        let measured = closed_loop::run(&Load {
            address: self.gateway.address,
            connections: CONNECTIONS,
            warm_up: Duration::ZERO,
            measured: Duration::from_secs_f64(args.seconds),
            key_prefix: uuid::Uuid::new_v4().simple().to_string(),
            rate,
            asked,
        })?;
        #[allow(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 answers")]
        Ok((measured.answered as f64, measured.per_second))
    }

    /// Empties the disk of a node that does not run.
    pub fn forget(&self, name: &str) -> Result<()> {
        match std::fs::remove_dir_all(self.directory.join(format!("{name}-data"))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("emptying a node's disk"),
            _ => Ok(()),
        }
    }
}

/// Waits until a node has nothing more to do: what it wrote is compacted, and warm copies are made.
pub fn settle(server: &Server) {
    let until = Instant::now() + SETTLE_LIMIT;
    let mut before = cpu_seconds(server.pid());
    while Instant::now() < until {
        sleep(LOOK);
        let now = cpu_seconds(server.pid());
        if now - before < IDLE * LOOK.as_secs_f64() {
            return;
        }
        before = now;
    }
}

#[allow(clippy::cast_precision_loss, reason = "a machine has far fewer than 2^53 MiB")]
fn memory(server: &Server) -> f64 {
    peak_memory_mib(server.pid()) as f64
}
