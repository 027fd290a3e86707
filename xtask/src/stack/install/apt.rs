//! Debian packages: only those whose programs are missing, all in one go.

use std::process::Command;

use anyhow::{Result, bail};

use super::super::cache::is_root;
use super::super::postgres;
use super::super::server::Kind;
use crate::exec;
use crate::progress::Progress;

/// The packages to install.
pub fn missing(kinds: &[Kind], with_python: bool) -> Vec<&'static str> {
    let mut packages = Vec::new();
    let mut need = |present: bool, wanted: &[&'static str]| {
        if !present {
            packages.extend(wanted);
        }
    };
    for kind in kinds {
        match kind {
            Kind::Kafka => {
                need(has("java"), &["default-jdk-headless"]);
                need(has("mvn"), &["maven"]);
            }
            Kind::Registry => need(has("go"), &["golang"]),
            Kind::Postgres => need(postgres::program("initdb").is_ok(), &["postgresql"]),
            Kind::Mysql => need(has("mariadbd"), &["mariadb-server"]),
            Kind::Mongo => need(has_library("libcurl.so.4"), &["libcurl4"]),
        }
    }
    if with_python {
        // Debian's interpreter comes without the module that gives a new venv its pip.
        need(
            exec::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])),
            &["python3", "python3-venv"],
        );
    }
    packages
}

/// What faults are made with and this machine lacks: packet filters.
pub fn missing_for_faults() -> Vec<&'static str> {
    let tools = [(has("nft"), "nftables"), (has("ip"), "iproute2")];
    tools.iter().filter(|(present, _)| !present).map(|(_, package)| *package).collect()
}

/// Installs `packages` if we may; if not, says what to ask an administrator for.
pub fn install(packages: &[&str], progress: &Progress) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !is_root() || !has("apt-get") {
        bail!("missing on this machine: {list}. Run this as root: apt-get install --no-install-recommends {list}");
    }
    progress.step(&format!("installing {list} (apt)"), || {
        exec::output(Command::new("apt-get").args(["update", "--quiet"]))?;
        let mut apt = Command::new("apt-get");
        apt.args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages);
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        // A package's own server is not wanted: in this run level Debian does not start it after the installation.
        apt.env("RUNLEVEL", "1");
        exec::output(&mut apt).map(drop)
    })
}

fn has(program: &str) -> bool {
    exec::find(program).is_some()
}

/// Whether the dynamic linker knows `name`. A machine without its cache is not our case: apt then says "already newest".
fn has_library(name: &str) -> bool {
    let ldconfig = exec::find("ldconfig").unwrap_or_else(|| "ldconfig".into());
    exec::output(Command::new(ldconfig).arg("-p")).is_ok_and(|list| list.contains(name))
}
