//! What a person sees while something takes long: a spinner with elapsed seconds on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Shows any number of steps that run at the same time.
pub struct Progress {
    /// Absent when nobody watches, or when another program writes to the same terminal and would tear the spinners apart.
    bars: Option<MultiProgress>,
}

impl Progress {
    pub fn new() -> Self {
        Self { bars: std::io::stderr().is_terminal().then(MultiProgress::new) }
    }

    /// Only lines, also on a terminal.
    pub fn plain() -> Self {
        Self { bars: None }
    }

    /// Runs `work`, shows `what` while it runs, and says how long it took. `what` also heads the error, if there is one.
    pub fn step<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let spinner = self.spin(what);
        if spinner.is_none() {
            eprintln!("  {what} ...");
        }
        let result = work();
        let verdict = if result.is_ok() { "done" } else { "FAILED" };
        let line = format!("  {what}: {verdict} in {:.1} s", started.elapsed().as_secs_f32());
        match (spinner, &self.bars) {
            (Some(spinner), Some(bars)) => {
                spinner.finish_and_clear();
                let _ = bars.println(line);
            }
            _ => eprintln!("{line}"),
        }
        result.with_context(|| what.to_owned())
    }

    fn spin(&self, what: &str) -> Option<ProgressBar> {
        let spinner = self.bars.as_ref()?.add(ProgressBar::new_spinner());
        // The template is a constant of this file: it parses, or the first run of the first developer fails.
        spinner.set_style(ProgressStyle::with_template("  {spinner} {msg} {elapsed}").expect("a valid template"));
        spinner.set_message(what.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(100));
        Some(spinner)
    }
}
