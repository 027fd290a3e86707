//! `lonja config check`.

use clap::ArgMatches;
use runtime::Config;
use runtime::config::{Field, report};

use crate::Failure;

/// Shows each setting of `serve`: name, value, unit, source.
///
/// # Errors
/// When the settings do not fit together.
pub fn run(definition: &clap::Command, matches: &ArgMatches, config: &Config) -> Result<(), Failure> {
    let path = |command: &'static str| move |found: &&clap::Command| found.get_name() == command;
    let check = definition.get_subcommands().find(path("config"));
    let check = check.and_then(|config| config.get_subcommands().find(path("check")));
    let matches = matches.subcommand_matches("config").and_then(|config| config.subcommand_matches("check"));
    if let (Some(check), Some(matches)) = (check, matches) {
        print(&report(check, matches));
    }
    config.validate().map_err(Failure::Config)
}

fn print(fields: &[Field]) {
    let width = |of: fn(&Field) -> usize| fields.iter().map(of).max().unwrap_or_default();
    let (name, value, unit) = (width(|f| f.name.len()), width(|f| f.value.len()), width(|f| f.unit.len()));
    for field in fields {
        let Field { name: n, value: v, unit: u, source } = field;
        println!("{n:name$}  {v:value$}  {u:unit$}  {}", source.as_str());
    }
}
