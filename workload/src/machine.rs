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

/// Ticks of a second in which Linux tells of processor time, whatever the kernel's own clock is.
const TICKS: f64 = 100.0;

/// Processor time that process `pid` has taken, in seconds; 0 when it cannot be read.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is a name in brackets, which may have spaces; user and system time are the 14th and 15th.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / TICKS
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
    fn this_process_uses_memory_and_time() {
        assert!(peak_memory_mib(std::process::id()) > 0);
        let (started, before) = (std::time::Instant::now(), cpu_seconds(std::process::id()));
        while cpu_seconds(std::process::id()) < before + 0.05 {
            assert!(started.elapsed().as_secs() < 30, "this process works and takes no time");
        }
        assert_eq!(value("a : 1\nmodel name\t: X 5\n", "model name").as_deref(), Some("X 5"));
    }
}
