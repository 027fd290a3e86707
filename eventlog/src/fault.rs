//! Crash points and switched-off rules for fault tests. Release builds have none: every function here is empty there.
//!
//! `LONJA_CRASH=before-append:20` kills the process with SIGKILL when it reaches that point for the 20th time.
//! `LONJA_MUTANT=no-dedup` switches one rule off, to prove that a verifier notices.

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

/// Whether the rule called `name` is switched off.
#[cfg(debug_assertions)]
#[must_use]
pub fn mutant(name: &str) -> bool {
    use std::sync::OnceLock;

    static MUTANT: OnceLock<Option<String>> = OnceLock::new();
    MUTANT.get_or_init(|| std::env::var("LONJA_MUTANT").ok()).as_deref() == Some(name)
}

/// Whether the rule called `name` is switched off.
#[cfg(not(debug_assertions))]
#[inline]
#[must_use]
pub fn mutant(_name: &str) -> bool {
    false
}
