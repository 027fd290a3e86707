//! The peers of `cargo xtask bench`: programs `NAME-peer` of one directory below the target directory, in which `workload` finds
//! them by `LONJA_PEERS`. Nothing is built or installed in the clone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{exec, proof};

/// Builds what `bench` needs with these arguments. Returns the directory with the programs.
///
/// # Errors
/// When a peer does not build.
pub fn build(target: &Path, arguments: &[String]) -> Result<PathBuf> {
    // Those in Rust have lock files, so a target directory, of their own.
    let directory = target.join("peer");
    let programs = directory.join("release");
    fs::create_dir_all(&programs).with_context(|| format!("creating {}", programs.display()))?;
    for peer in wanted(arguments) {
        let program = programs.join(format!("{peer}-peer"));
        let place = directory.join(peer);
        match peer {
            "emmett" => emmett(&place, &program),
            "jdbc-sink" => jdbc_sink(&place, &program),
            _ => rust(peer, &directory),
        }
        .with_context(|| format!("building the peer {peer}"))?;
    }
    Ok(programs)
}

/// The peers of the bench, or those among its `--subjects`.
fn wanted(arguments: &[String]) -> Vec<&'static str> {
    let peers: &[&str] = match arguments.first().map(String::as_str) {
        Some("commands") => &["cqrs-es"],
        Some("replay") => &["cqrs-es", "emmett", "disintegrate", "jdbc-sink"],
        _ => &[],
    };
    // `--subjects a,b` and `--subjects=a,b` are the same then.
    let line = arguments.join("=");
    let named = line.split("--subjects=").skip(1).filter_map(|rest| rest.split('=').next());
    let named: Vec<&str> = named.flat_map(|names| names.split(',')).collect();
    peers.iter().copied().filter(|peer| named.is_empty() || named.contains(peer)).collect()
}

fn rust(peer: &str, target: &Path) -> Result<()> {
    let manifest = format!("bench/{peer}/Cargo.toml");
    let target = target.to_str().context("the target directory's name is not text")?;
    proof::build(&["--profile", "release", "--manifest-path", &manifest, "--target-dir", target])
}

/// npm installs beside the files that say what, so they are copied.
fn emmett(place: &Path, program: &Path) -> Result<()> {
    copy("bench/emmett", &["package.json", "package-lock.json", "replay.js"], place)?;
    exec::output(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(place))?;
    launcher(program, &format!("node '{}/replay.js'", place.display()))
}

fn jdbc_sink(place: &Path, program: &Path) -> Result<()> {
    // Jars of another version would be found beside those of this one.
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| format!("removing {}", place.display()))?;
    }
    let mut mvn = Command::new("mvn");
    mvn.args(["-q", "-B", "dependency:copy-dependencies", "-f", "bench/jdbc-sink/pom.xml"]);
    exec::output(mvn.arg(format!("-DoutputDirectory={}", place.join("jars").display())))?;
    let place = place.display();
    let mut javac = Command::new("javac");
    javac.args(["-cp", &format!("{place}/jars/*"), "-d", &format!("{place}/classes")]);
    exec::output(javac.args(["JdbcSink.java", "OrderConverter.java"].map(|file| format!("bench/jdbc-sink/{file}"))))?;
    let logs = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error -Dorg.jboss.logging.provider=slf4j";
    launcher(program, &format!("java -Xmx2g {logs} -cp '{place}/jars/*:{place}/classes' JdbcSink"))
}

fn copy(from: &str, files: &[&str], to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    for file in files {
        fs::copy(Path::new(from).join(file), to.join(file)).with_context(|| format!("copying {file}"))?;
    }
    Ok(())
}

/// A program that is started as the others are.
fn launcher(program: &Path, line: &str) -> Result<()> {
    let text = format!("#!/bin/sh\nexec {line} \"$@\"\n");
    fs::write(program, text).with_context(|| format!("writing {}", program.display()))?;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).context("making it a program")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_peers_that_are_measured_are_built() {
        let wanted = |line: &str| wanted(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).join(" ");
        assert_eq!(wanted("commands --rounds 1"), "cqrs-es");
        assert_eq!(wanted("replay"), "cqrs-es emmett disintegrate jdbc-sink");
        assert_eq!(wanted("replay --subjects memory,emmett --events 5"), "emmett");
        assert_eq!(wanted("replay --events 5 --subjects=jdbc-sink"), "jdbc-sink");
        assert_eq!(wanted("commands --subjects kafka"), "");
        assert_eq!(wanted("restore"), "");
    }
}
