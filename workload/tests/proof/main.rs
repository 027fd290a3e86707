//! What strangers read: against the real broker, the real registry, and the Python of the stack.

mod planted;
mod python_reader;
mod sale;

/// A variable that names a part of the stack.
fn address(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `cargo xtask test`"))
}
