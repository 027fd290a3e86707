//! Servers that a tool starts for itself. They end with it, also when it panics; nothing else is ever signalled.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::http::{Answer, Connection};

const READY_LIMIT: Duration = Duration::from_secs(60);
const ASK_LIMIT: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Linux gives outgoing connections ports from 32768 on. A free one of those can be taken before the server listens there, even
/// by whoever asks whether it is ready: a connection to the port that it was given itself is accepted by itself.
const LISTENERS: Range<u16> = 23_000..32_768;
/// Lines of a dead server's log that an error shows.
const TAIL_LINES: usize = 30;

/// A server on 127.0.0.1 that was started by this process.
pub struct Server {
    name: String,
    child: Child,
    /// Where it serves HTTP.
    pub address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts `command` and waits until `ready_path` answers with 2xx. What it says goes to `{logs}/{name}.log`.
    ///
    /// # Errors
    /// When it cannot be started, ends, or is not ready within a minute: with the end of its log.
    pub fn start(name: &str, command: Command, address: SocketAddr, ready_path: &str, logs: &Path) -> Result<Self> {
        Self::start_within(READY_LIMIT, name, command, address, ready_path, logs)
    }

    /// The same where it may take longer.
    ///
    /// # Errors
    /// When it cannot be started, ends, or is not ready within `limit`: with the end of its log.
    pub fn start_within(
        limit: Duration,
        name: &str,
        mut command: Command,
        address: SocketAddr,
        ready_path: &str,
        logs: &Path,
    ) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let errors = file.try_clone().context("sharing the log file")?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.with_context(|| format!("starting {name}: {}", command.get_program().display()))?;
        let mut server = Self { name: name.to_owned(), child, address, log };
        server.wait_until_ready(ready_path, limit)?;
        Ok(server)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("asking for a child")? {
            bail!("{} ended with {status}:\n{}", self.name, tail(&self.log));
        }
        Ok(())
    }

    /// Asks it to stop in an orderly way and waits until it has.
    ///
    /// # Errors
    /// When it does not stop within half a minute (it is then killed) or ends with a failure.
    pub fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("asking for a child")? {
                if status.success() {
                    return Ok(());
                }
                bail!("{} stopped with {status}:\n{}", self.name, tail(&self.log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} did not stop within {STOP_LIMIT:?}:\n{}", self.name, tail(&self.log))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a process id that is none")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("signalling {}", self.name))
    }

    fn wait_until_ready(&mut self, path: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut last = String::from("nothing was answered");
        while Instant::now() < deadline {
            self.check_alive()?;
            match ask(self.address, path) {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Ok(answer) => last = format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
                Err(error) => last = format!("{error:#}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("{} was not ready within {limit:?} ({last}):\n{}", self.name, tail(&self.log))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks one question on a connection of its own.
///
/// # Errors
/// When nothing listens there, the connection breaks, or nothing is answered within five seconds.
pub fn ask(address: SocketAddr, path: &str) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    runtime.block_on(async {
        let asked = async { Connection::open(address).await?.get(path).await };
        tokio::time::timeout(ASK_LIMIT, asked).await.with_context(|| format!("no answer within {ASK_LIMIT:?}"))?
    })
}

/// Runs `command` to its end and returns what it printed; what it says as an error is shown as it says it. It is killed if
/// this process panics meanwhile.
///
/// # Errors
/// When it cannot be started or fails.
pub fn output(command: &mut Command) -> Result<String> {
    struct Guard(Child);
    impl Drop for Guard {
        fn drop(&mut self) {
            // Fails only when it has ended already.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = Guard(child.with_context(|| format!("starting {}", command.get_program().display()))?);
    let mut printed = String::new();
    let mut pipe = child.0.stdout.take().context("the pipe was asked for")?;
    pipe.read_to_string(&mut printed).context("reading what a child prints")?;
    let status = child.0.wait().context("waiting for a child")?;
    if !status.success() {
        bail!("{} failed with {status}", command.get_program().display());
    }
    Ok(printed)
}

/// A port of 127.0.0.1 that nobody listens on now, chosen at random.
///
/// # Errors
/// When none is left.
pub fn free_address() -> Result<SocketAddr> {
    let start = u16::try_from(RandomState::new().hash_one(()) % u64::from(LISTENERS.end - LISTENERS.start))?;
    let ports = (LISTENERS.start + start..LISTENERS.end).chain(LISTENERS);
    let mut addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).context("no port is free")
}

/// A program that lies beside this one, as cargo builds them.
///
/// # Errors
/// When it is not there.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("asking for the own path")?;
    let found = own.with_file_name(name);
    if !found.is_file() {
        bail!("{name} is not beside {}: build it in the same profile first", own.display());
    }
    Ok(found)
}

/// The program `NAME-peer` of `directory`, or the one beside this program.
///
/// # Errors
/// When none was given and none lies there.
pub fn peer(name: &str, directory: Option<&Path>) -> Result<PathBuf> {
    let program = format!("{name}-peer");
    directory.map_or_else(|| sibling(&program), |directory| Ok(directory.join(&program)))
}

fn tail(log: &Path) -> String {
    let text =
        fs::read(log).map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_dies_shows_its_last_words() {
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no disk >&2; exit 3"]);
        let failed = Server::start("dying", command, free_address().unwrap(), "/livez", logs.path());
        let error = format!("{:#}", failed.err().unwrap());
        assert!(error.contains("exit status: 3") && error.contains("no disk"), "{error}");
    }

    #[test]
    fn a_dropped_server_is_gone() {
        let logs = tempfile::tempdir().unwrap();
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let address = free_address().unwrap();
        drop(Server { name: "sleep".into(), child, address, log: logs.path().join("none") });
        assert!(kill(pid, None).is_err(), "the process is still there");
    }
}
