//! The Python scripts beside this crate, run by the interpreter of the stack.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// By name; carried in the program, so that it runs from anywhere.
const SCRIPTS: [(&str, &str); 3] = [
    ("baskets.py", include_str!("../python/baskets.py")),
    ("duckdb_rule.py", include_str!("../python/duckdb_rule.py")),
    ("read_orders.py", include_str!("../python/read_orders.py")),
];

/// Runs `script` with `python` and returns what it printed.
///
/// # Errors
/// When it fails: with what it said.
pub fn run(python: &Path, script: &str, arguments: &[&OsStr]) -> Result<String> {
    let directory = tempfile::tempdir().context("making a directory for scripts")?;
    for (name, text) in SCRIPTS {
        fs::write(directory.path().join(name), text).with_context(|| format!("writing {name}"))?;
    }
    let mut command = Command::new(python);
    command.arg("-B").arg(directory.path().join(script)).args(arguments);
    let output = command.output().with_context(|| format!("starting {}", python.display()))?;
    if !output.status.success() {
        bail!("{script} failed with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{script} printed no text"))
}
