//! What strangers read: against the real broker, the real registry, and the Python of the stack.

mod planted;
mod python_reader;
mod rebuild;
mod sale;

use clap::Parser;
use lonja_workload::stack::Stack;

/// A variable that names a part of the stack.
fn address(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `cargo xtask test`"))
}

#[derive(Parser)]
struct FromEnvironment {
    #[command(flatten)]
    stack: Stack,
}

impl FromEnvironment {
    fn stack() -> Stack {
        let parsed = Self::try_parse_from(["proof"]);
        parsed.unwrap_or_else(|error| panic!("run `cargo xtask test`: {error}")).stack
    }
}
