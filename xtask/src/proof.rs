//! `cargo xtask data|sell|faults|bench`, and `simulate` likewise: builds the proof tools, starts the `dev` stack, and hands over to `workload`, which
//! has the arguments and their help. All but `faults` in release: crash points are in debug builds alone.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::peers;
use crate::stack::{self, Instance};

/// Arguments for `workload`; `--help` lists them.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs `workload VERB …` on the `dev` stack.
///
/// # Errors
/// When something does not build or start, or the verb fails.
pub fn run(verb: &str, args: &Args) -> Result<()> {
    let (profile, directory) = if verb == "faults" { ("dev", "debug") } else { ("release", "release") };
    if verb == "faults" {
        // As the tests build them: with other features of the same crates much would be compiled anew.
        build(&["--profile", profile, "--workspace", "--bins"])?;
        stack::install_fault_tools()?;
    } else {
        build(&["--profile", profile, "--package", "lonja", "--package", "lonja-workload", "--bins"])?;
    }
    let urls = Instance::load("dev")?.up()?;
    let mut command = Command::new(target()?.join(directory).join("workload"));
    command.arg(verb).args(&args.rest).envs(urls.variables());
    if verb == "bench" {
        command.env("LONJA_PEERS", peers::build(&target()?, &args.rest)?);
    }
    let status = command.status().context("starting workload")?;
    if !status.success() {
        bail!("workload {verb} ended with {status}");
    }
    Ok(())
}

/// Runs `program` of `package`, which has the arguments and their help; it needs no servers.
///
/// # Errors
/// When it does not build or start, or finds something wrong.
pub fn alone(package: &str, program: &str, building: &[&str], args: &Args) -> Result<()> {
    build(&[&["--profile", "release", "--package", package, "--bins"], building].concat())?;
    let status = Command::new(target()?.join("release").join(program)).args(&args.rest).status();
    let status = status.with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    Ok(())
}

/// Runs `cargo build`.
///
/// # Errors
/// When it fails.
pub fn build(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).arg("build").args(arguments).status().context("starting cargo")?;
    if !status.success() {
        bail!("building ended with {status}");
    }
    Ok(())
}

/// The directory above the profile in which this program lies.
fn target() -> Result<PathBuf> {
    let own = std::env::current_exe().context("asking for the own path")?;
    own.ancestors().nth(2).map(PathBuf::from).context("this program does not lie in a target directory")
}
