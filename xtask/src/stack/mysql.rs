//! MariaDB, from the machine's own package. It stands in for MySQL: same protocol, same SQL as far as the project uses it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cache::is_root;
use super::server::Recipe;
use crate::exec;

const USER: &str = "mysql";

/// Tests make databases of their own, so the user may do everything. Two accounts, because a name in MariaDB includes where
/// the client comes from: over the socket it is `localhost`.
const PROVISION: &str = "
CREATE DATABASE IF NOT EXISTS lonja;
CREATE USER IF NOT EXISTS lonja@localhost;
CREATE USER IF NOT EXISTS lonja@'127.0.0.1';
GRANT ALL ON *.* TO lonja@localhost;
GRANT ALL ON *.* TO lonja@'127.0.0.1';
";

/// The recipe of MariaDB.
pub struct Mysql {
    pub port: u16,
}

impl Recipe for Mysql {
    fn ports(&self) -> Vec<u16> {
        vec![self.port]
    }

    fn user(&self) -> Option<&'static str> {
        Some(USER)
    }

    fn prepare(&self, home: &Path) -> Result<()> {
        let data = home.join("data");
        if data.exists() {
            return Ok(());
        }
        // Renamed when complete: an interrupted initialisation leaves no data directory that looks like one.
        let unfinished = home.join("data.new");
        let _ = fs::remove_dir_all(&unfinished);
        let mut init = maria("mariadb-install-db")?;
        init.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        init.arg(datadir(&unfinished)).args(user_option()).current_dir(home);
        exec::output(&mut init)?;
        fs::rename(unfinished, data).context("moving the new data directory to its place")
    }

    fn command(&self, home: &Path) -> Result<Command> {
        let mut command = maria("mariadbd")?;
        command
            .arg(datadir(&home.join("data")))
            .arg(format!("--port={}", self.port))
            .arg(format!("--socket={}", socket(home).display()))
            .arg(format!("--pid-file={}", home.join("data/mariadbd.pid").display()))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-buffer-pool-size=128M"])
            .args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_bin", "--max-connections=200"])
            .args(user_option());
        Ok(command)
    }

    fn is_ready(&self, home: &Path) -> bool {
        maria("mariadb-admin").is_ok_and(|mut admin| exec::succeeds(admin.args(as_root(home)).arg("ping")))
    }

    fn provision(&self, home: &Path) -> Result<()> {
        exec::output(maria("mariadb")?.args(as_root(home)).arg("-e").arg(PROVISION)).map(drop)
    }
}

/// Where clients find the unix socket.
pub fn socket(home: &Path) -> PathBuf {
    home.join("socket")
}

/// `--no-defaults` comes first: no configuration of this machine's own server reaches ours.
fn maria(program: &str) -> Result<Command> {
    let file =
        exec::find(program).with_context(|| format!("`{program}` is missing (Debian package `mariadb-server`)"))?;
    let mut command = Command::new(file);
    command.arg("--no-defaults");
    Ok(command)
}

fn datadir(directory: &Path) -> String {
    format!("--datadir={}", directory.display())
}

fn user_option() -> Option<String> {
    is_root().then(|| format!("--user={USER}"))
}

fn as_root(home: &Path) -> [String; 4] {
    ["-S".to_owned(), socket(home).display().to_string(), "-u".to_owned(), "root".to_owned()]
}
