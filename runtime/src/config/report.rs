use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::redact;

/// One setting as `lonja config check` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its flag, without the dashes.
    pub name: String,
    /// Its value, passwords hidden; empty when it is not set.
    pub value: String,
    /// The unit or form of its value.
    pub unit: String,
    /// Where the value comes from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A variable of the environment.
    Environment,
    /// A flag.
    Flag,
}

impl Source {
    /// As it is shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "env",
            Self::Flag => "flag",
        }
    }
}

/// Every setting of `command`, as `matches` has them, in the order of the help page.
#[must_use]
pub fn report(command: &Command, matches: &ArgMatches) -> Vec<Field> {
    let fields = command.get_arguments().filter(|argument| argument.get_env().is_some());
    fields.map(|argument| field(argument, matches)).collect()
}

fn field(argument: &Arg, matches: &ArgMatches) -> Field {
    let id = argument.get_id().as_str();
    let values = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
    let values: Vec<_> = values.map(|value| redact(&value.to_string_lossy())).collect();
    Field {
        name: argument.get_long().unwrap_or(id).to_owned(),
        value: values.join(","),
        unit: argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default(),
        source: match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Source::Flag,
            Some(ValueSource::EnvVariable) => Source::Environment,
            _ => Source::Default,
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;
    use crate::Config;

    #[test]
    fn a_field_says_where_its_value_comes_from() {
        let mut command = Config::augment_args(Command::new("lonja"));
        let matches = command.clone().get_matches_from(["lonja", "--mysql", "mysql://u:p@h/db"]);
        command.build();
        let fields = report(&command, &matches);
        let find = |name: &str| fields.iter().find(|field| field.name == name).unwrap().clone();
        let mysql = find("mysql");
        assert_eq!(
            (mysql.value.as_str(), mysql.unit.as_str(), mysql.source),
            ("mysql://u:***@h/db", "URL", Source::Flag)
        );
        let timeout = find("command-timeout-ms");
        assert_eq!(
            (timeout.value.as_str(), timeout.unit.as_str(), timeout.source),
            ("5000", "MILLISECONDS", Source::Default)
        );
    }
}
