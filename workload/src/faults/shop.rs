//! A shop of its own on the real stack that is started again when it dies, as an operator's supervisor would.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;

use super::place::Place;
use crate::load::now_ms;
use crate::process::{ask, free_address};

const READY_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// One `lonja serve`.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// In the environment of its first process alone.
    pub first: Vec<(&'static str, String)>,
    /// In the environment of each of its processes.
    pub always: Vec<(&'static str, String)>,
    /// Its views are in memory.
    pub without_stores: bool,
    /// Where it serves; a free port if it is not said.
    pub address: Option<SocketAddr>,
}

/// A supervised `lonja serve`.
pub struct Shop {
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it answers operators.
    pub operators: SocketAddr,
    state: Arc<Supervised>,
    supervisor: Option<JoinHandle<()>>,
    log: PathBuf,
}

#[derive(Default)]
struct Supervised {
    over: AtomicBool,
    held: AtomicBool,
    /// Of the process that runs; 0 while none does.
    pid: AtomicI32,
    /// When processes were found killed by SIGKILL, in milliseconds since 1970.
    killed: Mutex<Vec<i64>>,
}

impl Shop {
    /// Starts it under `name` and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(place: &Place, name: &str, node: &Node) -> Result<Self> {
        let address = node.address.map_or_else(free_address, Ok)?;
        let operators = free_address()?;
        let state = Arc::<Supervised>::default();
        let log = place.dir.path().join(format!("{name}.log"));
        let mut starts = Vec::new();
        for first in [node.first.as_slice(), &[]] {
            let mut command =
                if node.without_stores { place.command_without_stores("lonja") } else { place.command("lonja") };
            command.args(["serve", "--listen", &address.to_string(), "--operators-listen", &operators.to_string()]);
            command.args(["--node", name, "--data"]);
            command.arg(place.dir.path().join(format!("{name}-data")));
            command.envs(node.always.iter().chain(first).map(|(name, value)| (name, value)));
            let out = File::options().create(true).append(true).open(&log).context("opening the shop's log")?;
            command.stdin(Stdio::null()).stdout(out.try_clone().context("sharing the log")?).stderr(out);
            starts.push(command);
        }
        let later = starts.pop().context("two starts")?;
        let first = starts.pop().context("two starts")?;
        let supervisor = std::thread::spawn({
            let state = Arc::clone(&state);
            move || supervise(first, later, &state)
        });
        let shop = Self { address, operators, state, supervisor: Some(supervisor), log };
        shop.wait_until_ready()?;
        Ok(shop)
    }

    /// Waits until every part of it is ready.
    ///
    /// # Errors
    /// When that takes too long: with its last words.
    pub fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            let asked = ask(self.address, "/readyz");
            if asked.as_ref().is_ok_and(|answer| answer.status.is_success()) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let said = asked.map_or_else(|error| format!("{error:#}"), |answer| format!("{:?}", answer.body));
                bail!("not ready within {READY_LIMIT:?}: {said}\n{}", self.last_words());
            }
            sleep(POLL * 5);
        }
    }

    /// Waits until a process of it was killed, and says when (milliseconds since 1970).
    ///
    /// # Errors
    /// When that does not happen within `limit`: the fault did not strike.
    pub fn wait_killed(&self, limit: Duration) -> Result<i64> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(at) = self.state.killed.lock().first() {
                return Ok(*at);
            }
            ensure!(Instant::now() < deadline, "nothing died within {limit:?}: the fault did not strike");
            sleep(POLL);
        }
    }

    /// How often a process was killed by SIGKILL.
    #[must_use]
    pub fn kills(&self) -> usize {
        self.state.killed.lock().len()
    }

    /// Signals the process that runs.
    ///
    /// # Errors
    /// When none does.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.state.pid.load(Ordering::SeqCst);
        ensure!(pid > 0, "no process of the shop runs");
        kill(Pid::from_raw(pid), signal).context("signalling the shop")
    }

    /// Ends the process in an orderly way. The supervisor starts another one.
    ///
    /// # Errors
    /// When it does not end.
    pub fn restart(&self) -> Result<()> {
        let before = self.state.pid.load(Ordering::SeqCst);
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_LIMIT;
        while self.state.pid.load(Ordering::SeqCst) == before {
            ensure!(Instant::now() < deadline, "the shop did not end within {STOP_LIMIT:?}:\n{}", self.last_words());
            sleep(POLL);
        }
        Ok(())
    }

    /// Ends the process in an orderly way; none runs until [`Self::release`].
    ///
    /// # Errors
    /// When it does not end.
    pub fn hold(&self) -> Result<()> {
        self.state.held.store(true, Ordering::SeqCst);
        self.restart()
    }

    /// Lets the supervisor start it again.
    pub fn release(&self) {
        self.state.held.store(false, Ordering::SeqCst);
    }

    /// Why parts of it are not ready, by part.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn reasons(&self) -> Result<Vec<(String, String)>> {
        let report: serde_json::Value = serde_json::from_slice(&ask(self.address, "/readyz")?.body)?;
        let parts = report["parts"].as_object().context("a report without parts")?;
        let reason =
            |(name, part): (&String, &serde_json::Value)| Some((name.clone(), part["reason"].as_str()?.into()));
        Ok(parts.iter().filter_map(reason).collect())
    }

    /// The sum of a counter over its labels; 0 when it was never counted.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn counter(&self, name: &str) -> Result<f64> {
        let text = String::from_utf8_lossy(&ask(self.address, "/metrics")?.body).into_owned();
        let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// The end of its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // A panic there was told when it happened.
        let _ = self.supervisor.take().map(JoinHandle::join);
    }
}

/// The `first`, and after each death `later`, until it is over.
fn supervise(first: Command, mut later: Command, state: &Supervised) {
    let mut next = Some(first);
    let mut child: Option<Child> = None;
    while !state.over.load(Ordering::SeqCst) {
        match &mut child {
            None if state.held.load(Ordering::SeqCst) => {}
            None => match next.take().as_mut().unwrap_or(&mut later).spawn() {
                Ok(started) => {
                    state.pid.store(i32::try_from(started.id()).unwrap_or(0), Ordering::SeqCst);
                    child = Some(started);
                }
                Err(error) => eprintln!("starting the shop: {error}"),
            },
            Some(running) => {
                if let Ok(Some(status)) = running.try_wait() {
                    state.pid.store(0, Ordering::SeqCst);
                    if status.signal() == Some(9) {
                        state.killed.lock().push(now_ms());
                    }
                    child = None;
                    continue;
                }
            }
        }
        sleep(POLL);
    }
    if let Some(child) = &mut child {
        end(child);
    }
}

/// In an orderly way, or not.
fn end(child: &mut Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
    // One that is frozen would never see the request.
    let asked = kill(pid, Signal::SIGTERM).and_then(|()| kill(pid, Signal::SIGCONT));
    let ended = Instant::now() + STOP_LIMIT;
    while asked.is_ok() && Instant::now() < ended {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        sleep(POLL);
    }
    // Both fail only when it has ended already, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait();
}
