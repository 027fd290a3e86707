//! Processes that outlive us: started in a session of their own, found again by a pid file that is checked before it is trusted.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
pub use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::cache::gone_is_fine;

const POLL: Duration = Duration::from_millis(20);

/// The process id of a server, and how to tell that it is still that server's: the system gives old ids to new processes.
pub struct PidFile {
    file: PathBuf,
    /// Part of the server's command line, and of no other's: its own directory.
    marker: String,
}

impl PidFile {
    pub fn new(file: PathBuf, marker: String) -> Self {
        Self { file, marker }
    }

    /// The process, if it runs. A zombie does not.
    pub fn alive(&self) -> Option<i32> {
        let pid = fs::read_to_string(&self.file).ok()?.trim().parse().ok()?;
        loop {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            if !line.is_empty() {
                return String::from_utf8_lossy(&line).contains(&self.marker).then_some(pid);
            }
            // Empty for a zombie, for a kernel thread (parent 2, or 0), and for a moment while a process becomes another program.
            if stat(pid).is_none_or(|(state, parent)| "ZX".contains(state) || parent == 0 || parent == 2) {
                return None;
            }
            sleep(POLL);
        }
    }

    /// Whether a server was started here and not stopped by us since.
    pub fn exists(&self) -> bool {
        self.file.exists()
    }

    pub fn remove(&self) -> Result<()> {
        gone_is_fine(fs::remove_file(&self.file)).with_context(|| format!("removing {}", self.file.display()))
    }

    /// Starts `command` in a session of its own, so that neither our end nor Ctrl-C in our terminal reaches it. Its output is
    /// appended to `log`.
    pub fn spawn(&self, command: &Command, directory: &Path, log: &Path) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening {}", log.display()))?;
        let mut detached = Command::new("setsid");
        detached.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => detached.env(name, value),
                None => detached.env_remove(name),
            };
        }
        let child = detached
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting setsid (package util-linux)")?;
        fs::write(&self.file, child.id().to_string()).with_context(|| format!("writing {}", self.file.display()))
    }

    /// Waits until the process is gone; false if it is still there after `limit`.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let started = Instant::now();
        while self.alive().is_some() {
            if started.elapsed() > limit {
                return false;
            }
            sleep(POLL);
        }
        true
    }
}

/// Sends `signal`; a process that is gone already is no error.
pub fn send(pid: i32, signal: Signal) -> Result<()> {
    match nix::sys::signal::kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("sending {signal} to process {pid}")),
    }
}

/// `root` and everything below it. PostgreSQL has a process per connection, which survives the parent for a moment and would
/// keep its port and shared memory.
pub fn tree(root: i32) -> Vec<i32> {
    let pairs = parents();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(pairs.iter().filter(|(_, above)| *above == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// (process, its parent) of every process.
fn parents() -> Vec<(i32, i32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?.1))).collect()
}

/// State letter and parent of a process.
fn stat(pid: i32) -> Option<(char, i32)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // pid (name) state parent …; the name may hold spaces and brackets itself.
    let (_, fields) = line.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The memory a process holds, in MiB.
pub fn memory_mib(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process with `marker` in its command line, and its pid file in a directory of its own.
    fn started(marker: &str) -> (PidFile, PathBuf) {
        let directory = std::env::temp_dir().join(format!("xtask-process-{}-{marker}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = PidFile::new(directory.join("pid"), marker.to_owned());
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & wait", marker]);
        file.spawn(&command, &directory, &directory.join("log")).unwrap();
        (file, directory)
    }

    #[test]
    fn a_started_process_is_found_and_a_killed_one_is_not() {
        let (file, directory) = started("found");
        // The marker is seen from the first moment on, already while setsid has not made room for the program yet.
        let pid = file.alive().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while tree(pid).len() < 2 && Instant::now() < deadline {
            sleep(POLL);
        }
        let all = tree(pid);
        assert_eq!(all.len(), 2, "the shell and its sleep");
        for pid in all {
            send(pid, Signal::SIGKILL).unwrap();
        }
        assert!(file.wait_gone(Duration::from_secs(5)));
        assert!(file.exists(), "it did not stop, it died");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_pid_that_belongs_to_another_program_is_not_ours() {
        let file = std::env::temp_dir().join(format!("xtask-foreign-{}", std::process::id()));
        fs::write(&file, std::process::id().to_string()).unwrap();
        assert_eq!(PidFile::new(file.clone(), "no program is called so".to_owned()).alive(), None);
        fs::remove_file(file).unwrap();
    }
}
