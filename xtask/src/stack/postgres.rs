//! PostgreSQL, from the machine's own package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache::gone_is_fine;
use super::process::Signal;
use super::server::{Recipe, as_user, create_for};
use crate::exec;

pub const REGISTRY_DATABASE: &str = "registry";
const USER: &str = "postgres";

/// The recipe of PostgreSQL.
pub struct Postgres {
    pub port: u16,
}

impl Recipe for Postgres {
    fn ports(&self) -> Vec<u16> {
        vec![self.port]
    }

    fn user(&self) -> Option<&'static str> {
        Some(USER)
    }

    fn prepare(&self, home: &Path) -> Result<()> {
        create_for(USER, &socket_directory(home))?;
        let data = home.join("data");
        if data.exists() {
            return self.remove_locks(home);
        }
        // Renamed when complete: an interrupted initdb leaves no data directory that looks like one.
        let unfinished = home.join("data.new");
        let _ = fs::remove_dir_all(&unfinished);
        let mut initdb = as_user(USER, &program("initdb")?);
        initdb
            .args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
            .arg(&unfinished)
            .current_dir(home);
        exec::output(&mut initdb)?;
        fs::rename(unfinished, data).context("moving the new data directory to its place")
    }

    fn command(&self, home: &Path) -> Result<Command> {
        let mut command = as_user(USER, &program("postgres")?);
        command.arg("-D").arg(home.join("data")).arg("-p").arg(self.port.to_string());
        let sockets = format!("unix_socket_directories={}", socket_directory(home).display());
        // The default of 128 MB holds none of the indexes of 5 M rows, and after each checkpoint the first change of a page writes all of it.
        let memory = ["shared_buffers=1GB", "max_wal_size=4GB"];
        let served = ["listen_addresses=127.0.0.1", &sockets, "wal_level=logical", "max_connections=200"];
        for setting in served.into_iter().chain(memory) {
            command.arg("-c").arg(setting);
        }
        Ok(command)
    }

    fn is_ready(&self, home: &Path) -> bool {
        let Ok(pg_isready) = program("pg_isready") else { return false };
        exec::succeeds(
            Command::new(pg_isready).arg("-h").arg(socket_directory(home)).arg("-p").arg(self.port.to_string()),
        )
    }

    /// The user may do everything, because each test makes a database of its own.
    fn provision(&self, home: &Path) -> Result<()> {
        let missing = |table, column, name, make: &str| {
            format!("SELECT '{make}' WHERE NOT EXISTS (SELECT FROM {table} WHERE {column} = '{name}') \\gexec\n")
        };
        let script = missing("pg_roles", "rolname", "lonja", "CREATE ROLE lonja LOGIN SUPERUSER")
            + &missing("pg_database", "datname", "lonja", "CREATE DATABASE lonja OWNER lonja")
            + &missing("pg_database", "datname", REGISTRY_DATABASE, "CREATE DATABASE registry");
        let file = home.join("provision.sql");
        fs::write(&file, script)?;
        let mut psql = Command::new(program("psql")?);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", "postgres", "-p"]).arg(self.port.to_string());
        exec::output(psql.arg("-h").arg(socket_directory(home)).arg("-f").arg(file)).map(drop)
    }

    /// SIGTERM would wait until every client has gone.
    fn stop_signal(&self) -> Signal {
        Signal::SIGINT
    }
}

impl Postgres {
    /// After a kill its lock files name a process that may still be seen, as a zombie that nobody has collected, and PostgreSQL
    /// would take it for a running server. That none of ours runs is known here, and that no other one has the port.
    fn remove_locks(&self, home: &Path) -> Result<()> {
        let socket = socket_directory(home).join(format!(".s.PGSQL.{}.lock", self.port));
        for lock in [home.join("data/postmaster.pid"), socket] {
            gone_is_fine(fs::remove_file(&lock)).with_context(|| format!("removing {}", lock.display()))?;
        }
        Ok(())
    }
}

/// Where clients find the unix socket.
pub fn socket_directory(home: &Path) -> PathBuf {
    home.join("socket")
}

/// Where Debian or a build of one's own put the server's programs; they are often not on the `PATH`.
pub fn program(name: &str) -> Result<PathBuf> {
    let configured = Command::new("pg_config").arg("--bindir").output().ok().filter(|done| done.status.success());
    let configured = configured.map(|done| PathBuf::from(String::from_utf8_lossy(&done.stdout).trim().to_owned()));
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    configured
        .into_iter()
        .chain(versions.into_iter().rev())
        // A directory without the server belongs to a client package.
        .find(|directory| directory.join("postgres").is_file() && directory.join("initdb").is_file())
        .map(|directory| directory.join(name))
        .filter(|file| file.is_file())
        .with_context(|| format!("PostgreSQL's `{name}` is missing (Debian package `postgresql`)"))
}
