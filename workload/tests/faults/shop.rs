//! A shop of its own on the real stack that is started again when it dies, as an operator's supervisor would.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lonja_workload::process::free_address;

use crate::place::Place;

const READY_LIMIT: Duration = Duration::from_secs(90);

/// A supervised `lonja serve`.
pub struct Shop {
    pub address: SocketAddr,
    over: Arc<AtomicBool>,
    killed: Arc<AtomicU32>,
    supervisor: Option<JoinHandle<()>>,
    log: PathBuf,
}

impl Shop {
    /// Starts it; `fault` is in the environment of the first process alone, `always` in that of each.
    pub fn start(place: &Place, fault: Option<(&str, &str)>, always: Option<(&str, &str)>) -> Self {
        let address = free_address().unwrap();
        let (over, killed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let log = place.dir.path().join("lonja.log");
        let mut starts = Vec::new();
        for fault in [fault, None] {
            let mut command = place.lonja();
            command.args(["serve", "--listen", &address.to_string(), "--node", "faults", "--data"]);
            command.arg(place.dir.path().join("data"));
            command.envs(fault).envs(always);
            let out = File::options().create(true).append(true).open(&log).unwrap();
            command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
            starts.push(command);
        }
        let supervisor = {
            let (over, killed) = (Arc::clone(&over), Arc::clone(&killed));
            std::thread::spawn(move || supervise(starts, &over, &killed))
        };
        let shop = Self { address, over, killed, supervisor: Some(supervisor), log };
        shop.wait_until_ready();
        shop
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + READY_LIMIT;
        let url = format!("http://{}/readyz", self.address);
        loop {
            let asked = Command::new("curl").args(["-fsS", "-m", "2", "-o", "/dev/null", &url]).output().unwrap();
            if asked.status.success() {
                return;
            }
            assert!(Instant::now() < deadline, "not ready: {}", self.last_words());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// How often a process was killed by SIGKILL.
    pub fn kills(&self) -> u32 {
        self.killed.load(Ordering::SeqCst)
    }

    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub fn stop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.join().unwrap();
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The first of `starts`, and after each death the last, until it is over.
fn supervise(mut starts: Vec<Command>, over: &AtomicBool, killed: &AtomicU32) {
    let mut later = starts.pop().unwrap();
    let mut child: Child = starts.pop().unwrap().spawn().unwrap();
    while !over.load(Ordering::SeqCst) {
        if let Some(status) = child.try_wait().unwrap() {
            if status.signal() == Some(9) {
                killed.fetch_add(1, Ordering::SeqCst);
            }
            child = later.spawn().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = Command::new("kill").arg(child.id().to_string()).status();
    let ended = Instant::now() + Duration::from_secs(20);
    while asked.is_ok() && Instant::now() < ended {
        if child.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}
