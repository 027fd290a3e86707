//! Crash points and switched-off rules for fault tests. Release builds have none: every function here is empty there, but for
//! the rules if the feature `mutants` is on, for the simulator.
//!
//! `LONJA_CRASH=before-append:20` kills the process with SIGKILL when it reaches that point for the 20th time.
//! `LONJA_MUTANT=no-dedup` switches one rule off, to prove that a verifier notices.
//! `LONJA_CLOCK=FILE` has the process believe a time of day that is off by the milliseconds that the file says at the moment.

/// A place where a fault test may kill the process.
#[cfg(debug_assertions)]
pub fn crash_point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static TARGET: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let value = std::env::var("LONJA_CRASH").ok()?;
        let (name, count) = value.split_once(':').unwrap_or((&value, "1"));
        let count = count.parse().unwrap_or_else(|_| panic!("LONJA_CRASH is {value:?}, not NAME:COUNT"));
        Some((name.to_owned(), AtomicU64::new(count)))
    });
    if let Some((wanted, left)) = target
        && wanted == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        let pid = std::process::id().to_string();
        let killed = std::process::Command::new("kill").args(["-9", &pid]).status();
        panic!("kill -9 of itself left the process alive: {killed:?}");
    }
}

/// A place where a fault test may kill the process.
#[cfg(not(debug_assertions))]
#[inline]
pub fn crash_point(_name: &str) {}

/// By how many milliseconds the time of day is to be off.
///
/// # Panics
/// When the file does not say it.
#[cfg(debug_assertions)]
#[must_use]
pub fn clock_skew_ms() -> i64 {
    use std::sync::OnceLock;

    static FILE: OnceLock<Option<std::ffi::OsString>> = OnceLock::new();
    let Some(file) = FILE.get_or_init(|| std::env::var_os("LONJA_CLOCK")) else { return 0 };
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("LONJA_CLOCK cannot be read: {error}"));
    text.trim().parse().unwrap_or_else(|_| panic!("LONJA_CLOCK says {text:?}, not milliseconds"))
}

/// By how many milliseconds the time of day is to be off.
#[cfg(not(debug_assertions))]
#[inline]
#[must_use]
pub fn clock_skew_ms() -> i64 {
    0
}

/// The rules that can be switched off, to prove that whoever checks notices.
pub const MUTANTS: &[&str] = &[
    // The reader's: term, sequence number, a claim's number.
    "reader-term",
    "reader-sequence",
    "reader-claims",
    // The owner's: a report is for the oldest outstanding record, its offset is the expected one.
    "confirm-order",
    "confirm-offset",
    // A "no" is a record; a repeat waits for its original; a known command is not decided again.
    "no-record",
    "repeat-waits",
    "no-dedup",
    // A command that insists on a version meets it.
    "if-match",
    // A view's checkpoint moves from where it was expected; a checkpoint knows its last record.
    "checkpoint-cas",
    "checkpoint-identity",
    // What an owner confirmed stands on its claim; it looks whether the log still has both.
    "checkpoint-base",
    "owner-look",
    // Reading goes on behind what owners told, if that is still there, and where the log has more than they told.
    "told-identity",
    "told-end",
    // An owner starts with everything up to its claim.
    "restore-to-claim",
    // Behind an append that Kafka refused nothing lands.
    "gapless",
    // A generation that is built by a replay folds each event.
    "whole-fold",
];

#[cfg(any(debug_assertions, feature = "mutants"))]
mod switch {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::MUTANTS;

    const NONE: usize = usize::MAX;
    /// Nobody has looked at the environment yet.
    const UNKNOWN: usize = NONE - 1;

    /// Index of the rule that is switched off.
    static OFF: AtomicUsize = AtomicUsize::new(UNKNOWN);

    pub fn set(name: Option<&str>) {
        let index = name.map_or(NONE, |name| {
            let known = MUTANTS.iter().position(|known| *known == name);
            known.unwrap_or_else(|| panic!("there is no mutant {name:?}"))
        });
        OFF.store(index, Ordering::Relaxed);
    }

    pub fn is_off(name: &str) -> bool {
        let mut off = OFF.load(Ordering::Relaxed);
        if off == UNKNOWN {
            set(std::env::var("LONJA_MUTANT").ok().as_deref());
            off = OFF.load(Ordering::Relaxed);
        }
        MUTANTS.get(off) == Some(&name)
    }
}

/// Whether the rule called `name`, one of [`MUTANTS`], is switched off.
#[cfg(any(debug_assertions, feature = "mutants"))]
#[must_use]
pub fn mutant(name: &str) -> bool {
    switch::is_off(name)
}

/// Whether the rule called `name`, one of [`MUTANTS`], is switched off.
#[cfg(not(any(debug_assertions, feature = "mutants")))]
#[inline]
#[must_use]
pub fn mutant(_name: &str) -> bool {
    false
}

/// Switches a rule off in this process, or all of them on.
///
/// # Panics
/// When there is no such rule.
#[cfg(any(debug_assertions, feature = "mutants"))]
pub fn set_mutant(name: Option<&str>) {
    switch::set(name);
}

/// Switches a rule off in this process, or all of them on.
///
/// # Panics
/// When a rule is named: this build cannot switch any off.
#[cfg(not(any(debug_assertions, feature = "mutants")))]
pub fn set_mutant(name: Option<&str>) {
    assert!(name.is_none(), "this build has no mutants: it needs the feature `mutants`");
}
