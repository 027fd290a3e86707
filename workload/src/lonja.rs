//! The program that all this is about, started as users start it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Server, free_address, sibling};

/// For listeners that nobody asks here.
pub const ANY_PORT: &str = "127.0.0.1:0";

/// The `lonja` binary and the settings with which it is run.
pub struct Lonja {
    program: PathBuf,
    settings: Vec<(&'static str, String)>,
}

impl Lonja {
    /// `program`, or the one beside this program. It sees `settings` as its environment and no other setting: what the
    /// caller's environment says of the stack must not slip in.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(program: Option<&Path>, settings: Vec<(&'static str, String)>) -> Result<Self> {
        let program = program.map_or_else(|| sibling("lonja"), |path| Ok(path.to_owned()))?;
        Ok(Self { program, settings })
    }

    /// Runs `lonja {what} apply`: a step that prepares topics, schemas or views.
    ///
    /// # Errors
    /// When it fails: with what it said.
    pub fn apply(&self, what: &str) -> Result<()> {
        let output = self.command().args([what, "apply"]).output();
        let output = output.with_context(|| format!("starting {}", self.program.display()))?;
        if !output.status.success() {
            bail!(
                "lonja {what} apply failed with {}:\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Starts `lonja serve` on a free port, with its data and its log in `directory` under `name`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn serve(&self, name: &str, directory: &Path) -> Result<Server> {
        let address = free_address()?;
        let mut command = self.command();
        command.args(["serve", "--listen", &address.to_string(), "--operators-listen", ANY_PORT, "--data"]);
        command.arg(directory.join(format!("{name}-data")));
        Server::start(name, command, address, "/readyz", directory)
    }

    /// The same where it may take longer, and with the operators' API at an address that is known.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn serve_within(&self, limit: Duration, name: &str, directory: &Path, operating: SocketAddr) -> Result<Server> {
        let address = free_address()?;
        let mut command = self.command();
        command.args([
            "serve",
            "--listen",
            &address.to_string(),
            "--operators-listen",
            &operating.to_string(),
            "--data",
        ]);
        command.arg(directory.join(format!("{name}-data")));
        Server::start_within(limit, name, command, address, "/readyz", directory)
    }

    /// Starts `lonja commands` as node `name`, with its state in `directory` under that name, and waits so long at most.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn commands(&self, name: &str, directory: &Path, limit: Duration) -> Result<Server> {
        let address = free_address()?;
        let mut command = self.command();
        command.args(["commands", "--node", name, "--cluster-listen", &address.to_string(), "--data"]);
        command.arg(directory.join(format!("{name}-data")));
        Server::start_within(limit, name, command, address, "/readyz", directory)
    }

    /// Starts `lonja gateway` on a free port.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn gateway(&self, name: &str, directory: &Path) -> Result<Server> {
        let address = free_address()?;
        let mut command = self.command();
        command.args(["gateway", "--node", name, "--listen", &address.to_string()]);
        command.args(["--operators-listen", ANY_PORT, "--data"]);
        command.arg(directory.join(format!("{name}-data")));
        Server::start(name, command, address, "/readyz", directory)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let ours = |name: &OsString| name.to_string_lossy().starts_with("LONJA_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }
}
