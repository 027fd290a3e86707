//! A Kafka of a row's own, which it may kill.

use std::path::Path;
use std::process::Command;

use crate::place::text;

/// A broker under the hand of `xtask stack`; gone with its data when dropped.
pub struct Broker {
    instance: String,
    /// `HOST:PORT`
    pub address: String,
}

impl Broker {
    pub fn start() -> Self {
        let instance = format!("faults-{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
        let mut broker = Self { address: String::new(), instance };
        broker.stack(&["up", "--port-base", "0", "--only", "kafka"]);
        let environment = broker.stack(&["env"]);
        let address = environment.split_once("LONJA_KAFKA='").and_then(|(_, rest)| rest.split_once('\'')).unwrap().0;
        broker.address = address.to_owned();
        broker
    }

    /// As a power cut would.
    pub fn kill(&self) {
        self.stack(&["kill", "kafka"]);
    }

    /// Returns when it serves again.
    pub fn start_again(&self) {
        self.stack(&["start", "kafka"]);
    }

    fn stack(&self, arguments: &[&str]) -> String {
        // Built before any test runs: `cargo xtask test` is its only caller.
        let xtask = Path::new(env!("CARGO_BIN_EXE_workload")).with_file_name("xtask");
        let done =
            Command::new(xtask).arg("stack").args(arguments).args(["--instance", &self.instance]).output().unwrap();
        assert!(done.status.success(), "stack {arguments:?}: {}", text(&done));
        text(&done)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stack(&["reset"]);
    }
}
