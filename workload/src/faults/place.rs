//! Topics and databases of a run on the real servers.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::own;
use crate::stack::Stack;

/// What every row works with.
#[derive(Debug, Clone)]
pub struct Tools {
    programs: PathBuf,
    /// The servers that rows share unless they have their own.
    pub stack: Stack,
}

impl Tools {
    /// `lonja`, `workload` and `xtask` lie in the directory of `workload`, as cargo builds them: in one profile.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn beside(workload: &Path, stack: Stack) -> Result<Self> {
        let programs = workload.parent().context("a program lies in a directory")?.to_owned();
        for name in ["lonja", "workload", "xtask"] {
            let program = programs.join(name);
            ensure!(program.is_file(), "{} is not there: build it in the same profile first", program.display());
        }
        Ok(Self { programs, stack })
    }

    /// One of the programs, without any setting of ours that the environment has.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        let settings = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with("LONJA_") && name != "LONJA_CACHE"
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| settings(name)) {
            command.env_remove(name);
        }
        command
    }
}

/// Topics and databases of a run, taken away when dropped.
pub struct Place {
    tools: Tools,
    shared: Stack,
    name: String,
    /// Where they are, for whoever asks the servers.
    pub stack: Stack,
    settings: Vec<(&'static str, String)>,
    /// Files of the run.
    pub dir: TempDir,
}

impl Place {
    /// Makes them on the servers of `shared`, each partition on so many brokers.
    ///
    /// # Errors
    /// When a server or a step of `lonja` refuses.
    pub fn new(tools: &Tools, shared: Stack, replication: u16) -> Result<Self> {
        let name = format!("f{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
        own::make_databases(&shared, &name)?;
        let stack = shared.apart(&name);
        let mut settings = stack.settings()?;
        settings.push(("LONJA_REPLICATION", replication.to_string()));
        let dir = tempfile::tempdir().context("making a directory")?;
        let place = Self { tools: tools.clone(), shared, name, stack, settings, dir };
        for step in ["topics", "schemas", "views"] {
            let done = place.command("lonja").args([step, "apply"]).output().context("starting lonja")?;
            ensure!(done.status.success(), "{step} apply: {}", text(&done));
        }
        Ok(place)
    }

    /// A program with this place's settings and no others.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.tools.program(program);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// As [`Self::command`], but knowing the log alone.
    #[must_use]
    pub fn command_without_stores(&self, program: &str) -> Command {
        let mut command = self.command(program);
        for name in ["LONJA_POSTGRES", "LONJA_MYSQL", "LONJA_MONGO"] {
            command.env_remove(name);
        }
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = own::remove(&self.shared, &self.name) {
            eprintln!("what the run made is left on the servers: {error:#}");
        }
    }
}

/// All that it said.
#[must_use]
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
