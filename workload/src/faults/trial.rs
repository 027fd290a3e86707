//! The way of every row: start a shop, send load, strike, heal, wait until everything is settled, judge.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::measure::{self, Recovered};
use super::place::{Place, Tools, text};
use super::servers::Servers;
use super::shop::{Node, Shop};
use crate::history::{self, Attempt, Outcome};
use crate::load::now_ms;
use crate::process;

/// What one row does differently from the others.
pub struct Trial<'t> {
    /// Servers of its own, as `stack up --only` names them; it shares all others.
    pub own: &'t str,
    /// Of these, how many are brokers.
    pub brokers: u16,
    /// Clients of its broker are sent to this port, where something that is told the broker's address stands between.
    pub between: Option<(u16, Between<'t>)>,
    /// The processes of the shop.
    pub nodes: Vec<Node>,
    /// For how long operations are begun.
    pub seconds: f64,
    /// Operations per second.
    pub rate: f64,
    /// Further arguments of `workload load`.
    pub load: &'t [&'t str],
    /// What must be answered again.
    pub recovered: Recovered,
    /// Begins two seconds after the load. Returns from when recovery counts (milliseconds since 1970).
    pub strike: &'t dyn Fn(&Scene) -> Result<i64>,
    /// Looks, when the load has ended, for what must not be beside the invariants.
    pub after: &'t dyn Fn(&Scene) -> Result<Vec<String>>,
}

/// Begins to stand between clients and the broker, whose address it is told.
pub type Between<'t> = &'t dyn Fn(SocketAddr) -> Result<()>;

/// A row under way.
pub struct Scene {
    /// What it works with.
    pub tools: Tools,
    /// The shop's processes.
    pub shops: Vec<Shop>,
    /// Its topics, databases and files.
    pub place: Place,
    /// Servers of its own.
    pub own: Option<Servers>,
    /// What the load, and strikes that send something themselves, recorded.
    pub histories: RefCell<Vec<PathBuf>>,
    /// Further arguments of `workload verify`.
    pub verify: RefCell<Vec<String>>,
}

/// What `workload verify` says, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub struct Verdict {
    /// Commands that were sent.
    pub commands: u64,
    /// Reads that were sent.
    pub reads: u64,
    /// Attempts of commands by what is known of them.
    pub attempts: BTreeMap<String, u64>,
    /// Commands without a definite answer.
    pub unresolved: u64,
    /// Records that do not count.
    pub voids: u64,
    /// What must not be.
    pub violations: Vec<Violation>,
}

/// What must not be.
#[derive(Debug, Clone, Deserialize)]
pub struct Violation {
    /// Which invariant is broken.
    pub invariant: String,
    /// What was found.
    pub detail: String,
}

/// What a trial showed.
pub struct Judged {
    /// By the verifier.
    pub verdict: Verdict,
    /// By the row itself.
    pub found: Vec<String>,
    /// Seconds until what must be answered again was; `None` if it never was.
    pub recovery_s: Option<f64>,
    /// Longest time without a definite answer to any command while the load ran, in seconds.
    pub longest_pause_s: f64,
}

impl Default for Trial<'_> {
    fn default() -> Self {
        Self {
            own: "",
            brokers: 1,
            between: None,
            nodes: vec![Node::default()],
            seconds: 6.0,
            rate: 100.0,
            load: &[],
            recovered: Recovered::Command,
            strike: &|_| Ok(now_ms()),
            after: &|_| Ok(Vec::new()),
        }
    }
}

impl Trial<'_> {
    /// Carries it out.
    ///
    /// # Errors
    /// When it cannot be carried out, also when the fault did not strike: nothing was shown then.
    pub fn run(&self, tools: &Tools) -> Result<Judged> {
        let scene = self.set_up(tools)?;
        let history = scene.histories.borrow()[0].clone();
        let mut load = scene.place.command("workload");
        load.arg("load").arg("--history").arg(&history).args(self.load);
        load.args(["--connections", "64", "--seconds", &self.seconds.to_string(), "--rate", &self.rate.to_string()]);
        for shop in &scene.shops {
            load.args(["--address", &shop.address.to_string()]);
        }
        let (loaded, struck) = std::thread::scope(|scope| {
            let loaded = scope.spawn(|| process::output(&mut load));
            sleep(Duration::from_secs(2));
            let struck = (self.strike)(&scene);
            (loaded.join(), struck)
        });
        let Ok(loaded) = loaded else { bail!("the thread that waits for the load panicked") };
        let words = || scene.shops.iter().map(Shop::last_words).collect::<Vec<_>>().join("\n");
        let since = struck.with_context(words).context("striking")?;
        loaded.context("the load")?;
        let found = (self.after)(&scene).with_context(words).context("looking after the load")?;
        let verdict = scene.judge()?;
        let attempts = history::read(&history)?;
        Ok(Judged {
            verdict,
            found,
            recovery_s: measure::recovery_s(&attempts, since, &self.recovered),
            longest_pause_s: measure::longest_pause_s(&attempts),
        })
    }

    fn set_up(&self, tools: &Tools) -> Result<Scene> {
        let mut own = match self.own {
            "" => None,
            own => Some(Servers::start(tools, own, self.brokers, self.between.map(|(port, _)| port))?),
        };
        if let Some(((port, prepare), own)) = self.between.zip(own.as_mut()) {
            let broker = own.address("LONJA_KAFKA")?.parse().context("the broker's address")?;
            prepare(broker)?;
            own.lead_kafka_to(port);
        }
        let stack = own.as_ref().map_or_else(|| tools.stack.clone(), |own| own.over(&tools.stack));
        let place = Place::new(tools, stack, self.brokers)?;
        let mut shops = Vec::new();
        for (name, node) in ["a", "b", "c"].into_iter().zip(&self.nodes) {
            shops.push(Shop::start(&place, name, node)?);
        }
        let histories = vec![place.dir.path().join("history.jsonl")].into();
        Ok(Scene { tools: tools.clone(), shops, place, own, histories, verify: RefCell::default() })
    }
}

impl Scene {
    /// The first process of the shop.
    #[must_use]
    pub fn shop(&self) -> &Shop {
        &self.shops[0]
    }

    /// The row's own servers.
    ///
    /// # Errors
    /// When it has none.
    pub fn servers(&self) -> Result<&Servers> {
        self.own.as_ref().context("this row has no servers of its own")
    }

    /// Everything that was sent so far, when nothing is being sent.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn attempts(&self) -> Result<Vec<Attempt>> {
        let mut attempts = Vec::new();
        for history in &*self.histories.borrow() {
            attempts.extend(history::read(history)?);
        }
        Ok(attempts)
    }

    fn judge(&self) -> Result<Verdict> {
        let mut verify = self.place.command("workload");
        verify.args(["verify", "--json"]).args(&*self.verify.borrow());
        if self.shops.len() > 1 {
            verify.arg("--several-nodes");
        }
        for history in &*self.histories.borrow() {
            verify.arg("--history").arg(history);
        }
        let done = verify.output().context("starting the verifier")?;
        // It fails when there are violations, too; whether it judged shows in what it printed.
        serde_json::from_slice(&done.stdout).with_context(|| format!("the verifier said: {}", text(&done)))
    }
}

/// Waits for the only death of the first shop that a crash point brings.
///
/// # Errors
/// When nothing died.
pub fn crash(scene: &Scene) -> Result<i64> {
    let at = scene.shop().wait_killed(Duration::from_secs(30))?;
    ensure!(scene.shop().kills() == 1, "it died more than once");
    Ok(at)
}

/// Commands that were accepted.
pub fn accepted(attempts: &[Attempt]) -> impl Iterator<Item = &Attempt> {
    attempts.iter().filter(|attempt| !attempt.is_read() && attempt.outcome == Outcome::Ok)
}
