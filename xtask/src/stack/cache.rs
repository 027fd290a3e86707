//! Where tools and data live: outside the clone, so that neither a commit nor a `git clean` ever meets them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

/// The directory for everything that is installed or stored.
#[derive(Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `LONJA_CACHE`; else a system directory for root, because the database servers run as users of their own and must reach
    /// it; else the user's cache directory.
    pub fn open() -> Result<Self> {
        let root = match (std::env::var_os("LONJA_CACHE"), std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))
        {
            (Some(own), _, _) => std::path::absolute(own)?,
            _ if is_root() => PathBuf::from("/var/cache/lonja"),
            (_, Some(cache), _) => PathBuf::from(cache).join("lonja"),
            (_, _, Some(home)) => PathBuf::from(home).join(".cache/lonja"),
            _ => bail!("neither LONJA_CACHE nor HOME is set: no place for tools and data"),
        };
        fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
        if is_root() {
            everyone_can_reach(&root)?;
        }
        Ok(Self { root })
    }

    /// Where one tool of one version is installed.
    pub fn tool(&self, name_and_version: &str) -> PathBuf {
        self.root.join("tools").join(name_and_version)
    }

    /// The data of one instance.
    pub fn data(&self, instance: &str) -> PathBuf {
        self.root.join("data").join(instance)
    }

    /// Holds off every other xtask that asks for the same name, until the answer is dropped or the process ends.
    pub fn lock(&self, name: &str) -> Result<File> {
        let directory = self.root.join("locks");
        fs::create_dir_all(&directory)?;
        let file = File::create(directory.join(name)).with_context(|| format!("creating the lock `{name}`"))?;
        if file.try_lock().is_err() {
            eprintln!("  waiting for another xtask that holds the lock `{name}`");
            file.lock()?;
        }
        Ok(file)
    }
}

/// Whether servers that refuse to run as root must be given a user of their own.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// What is to be removed may be gone already.
pub fn gone_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn everyone_can_reach(path: &Path) -> Result<()> {
    for directory in path.ancestors() {
        if fs::metadata(directory)?.permissions().mode() & 0o001 == 0 {
            bail!(
                "{} is closed to other users, but the database servers run as users `postgres` and `mysql`: set LONJA_CACHE to another place",
                directory.display()
            );
        }
    }
    Ok(())
}
