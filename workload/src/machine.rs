//! What a figure belongs to: the machine and the commit.

use std::fmt;
use std::fs;
use std::process::Command;

/// Facts without which a figure says nothing.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Name of the processor.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Version of the kernel.
    pub kernel: String,
    /// Commit of the working directory, with `+` when files differ from it.
    pub commit: String,
}

impl Machine {
    /// Reads them; what cannot be read is "unknown" or 0.
    #[must_use]
    pub fn read() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let unknown = || "unknown".to_owned();
        Self {
            processor: value(&cpu, "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib_of("/proc/meminfo", "MemTotal") / 1_024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| text.trim().into()),
            commit: commit().unwrap_or_else(unknown),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory_mib, kernel, commit } = self;
        write!(f, "{cores} cores of {processor}, {memory_mib} MiB, Linux {kernel}, commit {commit}")
    }
}

/// The value of the first line `name … : value`.
fn value(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

/// A field in kB of a file of /proc; 0 when it is not there.
fn kib_of(file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    value(&text, field).and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Most memory that process `pid` has had at once, in MiB; 0 when it cannot be read.
#[must_use]
pub fn peak_memory_mib(pid: u32) -> u64 {
    kib_of(&format!("/proc/{pid}/status"), "VmHWM") / 1_024
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    Some(if changed { head + "+" } else { head })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_memory() {
        assert!(peak_memory_mib(std::process::id()) > 0);
        assert_eq!(value("a : 1\nmodel name\t: X 5\n", "model name").as_deref(), Some("X 5"));
    }
}
