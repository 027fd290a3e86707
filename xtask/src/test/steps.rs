//! What a test run consists of. To build or test something more, add a line here.

use std::process::Command;

/// One call of cargo.
pub struct Step {
    /// For people: which step failed.
    pub name: String,
    arguments: Vec<String>,
}

/// Everything that is compiled while the servers start. The programs come first: tests of the whole system start them.
pub fn builds(arguments: &[String]) -> Vec<Step> {
    // What stands behind a further `--` is for the test programs, and compiling does not run them.
    let for_cargo: Vec<String> = arguments.iter().take_while(|argument| *argument != "--").cloned().collect();
    let mut steps = Vec::new();
    if !names_package(&for_cargo) {
        steps.push(Step::cargo("building the programs", &["build", "--workspace", "--bins"], &[]));
    }
    steps.push(Step::cargo("building the tests", &with_scope(&["test", "--no-run"], &for_cargo), &for_cargo));
    steps
}

/// Everything that is run once the servers serve.
pub fn tests(arguments: &[String]) -> Vec<Step> {
    vec![Step::cargo("cargo test", &with_scope(&["test", "--no-fail-fast"], arguments), arguments)]
}

/// Cargo would quietly ignore a package's name beside `--workspace`.
fn with_scope<'a>(command: &[&'a str], arguments: &[String]) -> Vec<&'a str> {
    let scope: &[&str] = if names_package(arguments) { &[] } else { &["--workspace"] };
    [command, scope].concat()
}

fn names_package(arguments: &[String]) -> bool {
    let mut for_cargo = arguments.iter().take_while(|argument| *argument != "--");
    for_cargo.any(|argument| argument.starts_with("-p") || argument.starts_with("--package"))
}

impl Step {
    fn cargo(name: &str, command: &[&str], arguments: &[String]) -> Self {
        let command = command.iter().map(|word| (*word).to_owned());
        Self { name: name.to_owned(), arguments: command.chain(arguments.iter().cloned()).collect() }
    }

    /// The command to run.
    pub fn command(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(&self.arguments);
        // We run below `cargo run`, whose variables about *this* package would make cargo build others anew.
        let foreign = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
        for (name, _) in std::env::vars_os() {
            if foreign.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(steps: &[Step]) -> Vec<String> {
        steps.iter().map(|step| step.arguments.join(" ")).collect()
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn without_arguments_everything_is_tested() {
        assert_eq!(of(&tests(&[])), ["test --no-fail-fast --workspace"]);
        assert_eq!(of(&builds(&[])), ["build --workspace --bins", "test --no-run --workspace"]);
    }

    #[test]
    fn a_package_and_a_filter_are_passed_on() {
        let arguments = words("-p lonja-domain -- cart");
        assert_eq!(of(&tests(&arguments)), ["test --no-fail-fast -p lonja-domain -- cart"]);
        assert_eq!(of(&builds(&arguments)), ["test --no-run -p lonja-domain"]);
    }
}
