//! Topics and databases of a run on the real servers.

use std::path::Path;
use std::process::{Command, Output};

use clap::Parser;
use lonja_workload::own;
use lonja_workload::stack::Stack;
use tempfile::TempDir;

#[derive(Parser)]
struct FromEnvironment {
    #[command(flatten)]
    stack: Stack,
}

/// The stack that the environment names.
pub fn stack() -> Stack {
    FromEnvironment::try_parse_from(["faults"]).unwrap_or_else(|error| panic!("run `cargo xtask test`: {error}")).stack
}

/// Topics and databases of a run, taken away when dropped.
pub struct Place {
    shared: Stack,
    name: String,
    pub settings: Vec<(&'static str, String)>,
    pub dir: TempDir,
}

impl Place {
    pub fn new(shared: Stack) -> Self {
        let name = format!("f{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
        own::make_databases(&shared, &name).unwrap();
        let settings = shared.apart(&name).settings().unwrap();
        let place = Self { shared, name, settings, dir: tempfile::tempdir().unwrap() };
        for step in ["topics", "schemas", "views"] {
            let done = place.lonja().args([step, "apply"]).output().unwrap();
            assert!(done.status.success(), "{step} apply: {}", text(&done));
        }
        place
    }

    /// `lonja` with this place's settings and no others.
    pub fn lonja(&self) -> Command {
        self.command(&Path::new(env!("CARGO_BIN_EXE_workload")).with_file_name("lonja"))
    }

    pub fn workload(&self) -> Command {
        self.command(Path::new(env!("CARGO_BIN_EXE_workload")))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LONJA_")) {
            command.env_remove(name);
        }
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
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
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
