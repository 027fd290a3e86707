//! Servers of a row's own, which it may kill.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::place::{Tools, text};
use crate::stack::Stack;

/// Servers under the hand of `xtask stack`; gone with their data when dropped.
pub struct Servers {
    tools: Tools,
    instance: String,
    environment: BTreeMap<String, String>,
}

impl Servers {
    /// Starts those of `only`, as `stack up` has it, and so many brokers, on free ports. With `advertised`, clients of the
    /// one broker are sent to that port of this machine.
    ///
    /// # Errors
    /// When one does not start.
    pub fn start(tools: &Tools, only: &str, brokers: u16, advertised: Option<u16>) -> Result<Self> {
        let instance = format!("faults-{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
        let mut servers = Self { tools: tools.clone(), instance, environment: BTreeMap::new() };
        let (brokers, port) = (brokers.to_string(), advertised.map(|port| port.to_string()));
        let mut arguments = vec!["up", "--port-base", "0", "--only", only, "--brokers", &brokers];
        if let Some(port) = &port {
            arguments.extend(["--advertise", port]);
        }
        servers.stack(&arguments)?;
        let lines = servers.stack(&["env"])?;
        let variable = |line: &str| {
            let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('\'').to_owned()))
        };
        servers.environment = lines.lines().filter_map(variable).collect();
        Ok(servers)
    }

    /// `stack` with these servers in place of its own.
    #[must_use]
    pub fn over(&self, stack: &Stack) -> Stack {
        stack.over(&self.environment)
    }

    /// Address of one of them by its variable, for example `LONJA_KAFKA`.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn address(&self, variable: &str) -> Result<&str> {
        self.environment.get(variable).map(String::as_str).with_context(|| format!("{variable} is not there"))
    }

    /// Clients find the broker at this port of this machine.
    pub fn lead_kafka_to(&mut self, port: u16) {
        self.environment.insert("LONJA_KAFKA".to_owned(), format!("127.0.0.1:{port}"));
    }

    /// As a power cut would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, server: &str) -> Result<()> {
        self.stack(&["kill", server]).map(drop)
    }

    /// In an orderly way.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn stop(&self, server: &str) -> Result<()> {
        self.stack(&["stop", server]).map(drop)
    }

    /// Returns when it serves again.
    ///
    /// # Errors
    /// When it does not.
    pub fn start_again(&self, server: &str) -> Result<()> {
        self.stack(&["start", server]).map(drop)
    }

    /// Freezes it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self, server: &str) -> Result<()> {
        self.stack(&["pause", server]).map(drop)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self, server: &str) -> Result<()> {
        self.stack(&["resume", server]).map(drop)
    }

    /// The directory of a server: its log file, its pid, its data.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn directory(&self, server: &str) -> Result<PathBuf> {
        // It fails while one of them is down, which is no reason to know less.
        let asked = ["stack", "status", "--json", "--instance", &self.instance];
        let said = self.tools.program("xtask").args(asked).output().context("starting xtask")?;
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&said.stdout).context("reading the status")?;
        let log = rows.iter().find(|row| row["name"] == server).and_then(|row| row["log"].as_str());
        let log = PathBuf::from(log.with_context(|| format!("no server {server}"))?);
        Ok(log.parent().context("a log lies in a directory")?.to_owned())
    }

    fn stack(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.tools.program("xtask");
        command.arg("stack").args(arguments).args(["--instance", &self.instance]);
        let done = command.output().context("starting xtask")?;
        ensure!(done.status.success(), "stack {arguments:?}: {}", text(&done));
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Err(error) = self.stack(&["reset"]) {
            eprintln!("servers of a row are left: {error:#}");
        }
    }
}
