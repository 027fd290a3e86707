//! One server process: started, watched, stopped and killed in the same way, whatever it is.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use nix::unistd::User;
use serde::{Deserialize, Serialize};

use super::cache::is_root;
use super::ports;
use super::process::{self, PidFile, Signal};
use crate::exec;

/// How long a server may take to become ready. The slowest takes 5 s on two idle cores; a busy machine is slower.
pub const READY_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// How long ports of a killed predecessor may still be taken: its children end a moment after it.
const PORT_LIMIT: Duration = Duration::from_secs(3);

/// What a server is; an instance has one of each, or only some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Kafka,
    Registry,
    Postgres,
    Mysql,
    Mongo,
}

/// What one kind of server does in its own way. `home` is the server's directory.
pub trait Recipe: Send + Sync {
    /// The ports that must be free before the start; the first is the one clients use.
    fn ports(&self) -> Vec<u16>;

    /// The user the process runs as when we are root; it then owns `home`.
    fn user(&self) -> Option<&'static str> {
        None
    }

    /// Writes configuration and makes the data directory where it is missing. Runs before every start, also after a kill in
    /// the middle of itself.
    fn prepare(&self, home: &Path) -> Result<()>;

    /// What to start. `home` occurs in its arguments: that is how the process is recognised later.
    fn command(&self, home: &Path) -> Result<Command>;

    /// Whether it serves clients now.
    fn is_ready(&self, home: &Path) -> bool;

    /// Runs while the server is up but not ready: for one that waits to be told something.
    fn nudge(&self) {}

    /// Makes databases and users where they are missing. Runs after every start.
    fn provision(&self, _home: &Path) -> Result<()> {
        Ok(())
    }

    /// What makes it end in an orderly way, and soon, also with clients connected.
    fn stop_signal(&self) -> Signal {
        Signal::SIGTERM
    }
}

/// How a server is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The process runs and serves.
    Ready,
    /// The process runs and does not serve: it starts, hangs, or is paused.
    Unready,
    /// It was started and never stopped, and is gone.
    Died,
    Stopped,
}

/// One server of one instance.
pub struct Server {
    pub name: String,
    pub kind: Kind,
    home: PathBuf,
    pid: PidFile,
    recipe: Box<dyn Recipe>,
}

impl Server {
    /// `home` is the server's own directory: data, configuration, log, pid.
    pub fn new(name: String, kind: Kind, home: PathBuf, recipe: Box<dyn Recipe>) -> Self {
        let pid = PidFile::new(home.join("pid"), format!("{}/", home.display()));
        Self { name, kind, home, pid, recipe }
    }

    /// The port clients use.
    pub fn port(&self) -> u16 {
        self.recipe.ports()[0]
    }

    pub fn pid(&self) -> Option<i32> {
        self.pid.alive()
    }

    pub fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        exec::tail(&self.log(), exec::TAIL_LINES)
    }

    pub fn state(&self) -> State {
        match self.pid.alive() {
            Some(_) if self.recipe.is_ready(&self.home) => State::Ready,
            Some(_) => State::Unready,
            None if self.pid.exists() => State::Died,
            None => State::Stopped,
        }
    }

    /// Starts the process, unless it runs; does not wait until it serves.
    pub fn start(&self) -> Result<()> {
        if self.pid.alive().is_some() {
            return Ok(());
        }
        self.make_home()?;
        self.wait_for_ports()?;
        self.recipe.prepare(&self.home).with_context(|| format!("preparing {}", self.name))?;
        let command = self.recipe.command(&self.home)?;
        self.pid.spawn(&command, &self.home, &self.log()).with_context(|| format!("starting {}", self.name))
    }

    /// Waits until it serves, then makes sure of its databases.
    pub fn wait_ready(&self, limit: Duration) -> Result<()> {
        let started = Instant::now();
        while !self.recipe.is_ready(&self.home) {
            if self.pid.alive().is_none() {
                bail!("{} died while starting; the end of {}:\n{}", self.name, self.log().display(), self.tail());
            }
            if started.elapsed() > limit {
                bail!("{} is not ready after {} s; the end of its log:\n{}", self.name, limit.as_secs(), self.tail());
            }
            self.recipe.nudge();
            sleep(POLL);
        }
        self.recipe.provision(&self.home).with_context(|| format!("preparing the contents of {}", self.name))
    }

    /// Ends it in an orderly way; one that does not listen is killed.
    pub fn stop(&self) -> Result<()> {
        if let Some(pid) = self.pid.alive() {
            process::send(pid, self.recipe.stop_signal())?;
            // A paused process would never see the signal.
            process::send(pid, Signal::SIGCONT)?;
            if !self.pid.wait_gone(STOP_LIMIT) {
                eprintln!("{} did not stop within {} s: killed", self.name, STOP_LIMIT.as_secs());
                self.kill9()?;
            }
        }
        self.pid.remove()
    }

    /// Kills it and its children at once, as a power cut would. `status` calls it died from then on.
    pub fn kill9(&self) -> Result<()> {
        self.signal_all(Signal::SIGKILL)?;
        if !self.pid.wait_gone(STOP_LIMIT) {
            bail!("{} survived SIGKILL", self.name);
        }
        Ok(())
    }

    /// Freezes it and its children: to its peers and clients it looks cut off, and it comes back as a zombie.
    pub fn pause(&self) -> Result<()> {
        self.signal_all(Signal::SIGSTOP)
    }

    pub fn resume(&self) -> Result<()> {
        self.signal_all(Signal::SIGCONT)
    }

    fn signal_all(&self, signal: Signal) -> Result<()> {
        let pid = self.pid.alive().with_context(|| format!("{} does not run", self.name))?;
        process::tree(pid).into_iter().try_for_each(|pid| process::send(pid, signal))
    }

    fn make_home(&self) -> Result<()> {
        fs::create_dir_all(&self.home).with_context(|| format!("creating {}", self.home.display()))?;
        if let Some(user) = self.recipe.user().filter(|_| is_root()) {
            give(&self.home, user)?;
        }
        Ok(())
    }

    fn wait_for_ports(&self) -> Result<()> {
        let started = Instant::now();
        for port in self.recipe.ports() {
            while !ports::is_free(port) {
                if started.elapsed() > PORT_LIMIT {
                    bail!("{}: port {port} is taken by a program that is not ours", self.name);
                }
                sleep(POLL);
            }
        }
        Ok(())
    }
}

/// `program`, as `user` if we are root: database servers refuse to run as root.
pub fn as_user(user: &str, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups").arg(program);
    command
}

/// Makes a directory that belongs to `user`, if we are root.
pub fn create_for(user: &str, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    if is_root() { give(directory, user) } else { Ok(()) }
}

fn give(directory: &Path, user: &str) -> Result<()> {
    let account = User::from_name(user)?.with_context(|| format!("this machine has no user `{user}`"))?;
    chown(directory, Some(account.uid.as_raw()), Some(account.gid.as_raw()))
        .with_context(|| format!("giving {} to {user}", directory.display()))
}
