//! What became of each row.

use std::fmt;

use serde::Serialize;

use super::trial::Judged;
use super::{Blocked, Row};

/// Violations of a row that are shown; all of them are counted.
const SHOWN: usize = 5;

/// A row's result.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The row's name.
    pub row: &'static str,
    /// Whether all was as it must be.
    pub verdict: Verdict,
    /// Commands and reads.
    pub operations: u64,
    /// Attempts of commands that were answered with yes,
    pub ok: u64,
    /// with a recorded no,
    pub refused: u64,
    /// that were not begun,
    pub failed: u64,
    /// and of which nothing is known.
    pub unknown: u64,
    /// Commands that never had a definite answer.
    pub unresolved: u64,
    /// From the heal, or from the strike of a kill, to the next answer; `None` if none came.
    pub recovery_s: Option<f64>,
    /// How long that may take.
    pub bound_s: f64,
    /// Longest time without any definite answer to a command.
    pub longest_pause_s: f64,
    /// Records of the log that do not count.
    pub void_records: u64,
    /// What must not be.
    pub violations: Vec<String>,
    /// What the row took altogether.
    pub seconds: f64,
}

/// Whether all was as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing was violated, and it recovered in time.
    Passed,
    /// An invariant, or what the row itself looks for.
    Violated,
    /// It recovered too late, or left commands without an answer.
    Late,
    /// This machine does not allow it.
    Blocked,
    /// It could not be carried out: nothing was shown.
    Failed,
}

impl Line {
    /// The result of `row`.
    #[must_use]
    pub fn of(row: &Row, judged: anyhow::Result<Judged>, seconds: f64) -> Self {
        match judged {
            Ok(judged) => Self::judged(row, judged, seconds),
            Err(error) => {
                let verdict = if error.is::<Blocked>() { Verdict::Blocked } else { Verdict::Failed };
                let empty = Self::empty(row, seconds);
                Self { verdict, violations: vec![format!("{error:#}")], ..empty }
            }
        }
    }

    fn judged(row: &Row, judged: Judged, seconds: f64) -> Self {
        let Judged { verdict, found, recovery_s, longest_pause_s } = judged;
        let attempts = |outcome: &str| verdict.attempts.get(outcome).copied().unwrap_or(0);
        let mut violations = found;
        violations.extend(verdict.violations.iter().map(|violation| {
            let super::trial::Violation { invariant, detail } = violation;
            format!("{invariant}: {detail}")
        }));
        let on_time = recovery_s.is_some_and(|recovery| recovery <= row.bound_s) && verdict.unresolved == 0;
        let judgement = match row.must_find {
            Some(invariant) if verdict.violations.iter().any(|found| found.invariant == invariant) => Verdict::Passed,
            None if violations.is_empty() && on_time => Verdict::Passed,
            None if violations.is_empty() => Verdict::Late,
            _ => Verdict::Violated,
        };
        Self {
            verdict: judgement,
            operations: verdict.commands + verdict.reads,
            ok: attempts("ok"),
            refused: attempts("refused"),
            failed: attempts("failed"),
            unknown: attempts("unknown"),
            unresolved: verdict.unresolved,
            recovery_s,
            longest_pause_s,
            void_records: verdict.voids,
            violations,
            ..Self::empty(row, seconds)
        }
    }

    fn empty(row: &Row, seconds: f64) -> Self {
        Self {
            row: row.name,
            verdict: Verdict::Failed,
            operations: 0,
            ok: 0,
            refused: 0,
            failed: 0,
            unknown: 0,
            unresolved: 0,
            recovery_s: None,
            bound_s: row.bound_s,
            longest_pause_s: 0.0,
            void_records: 0,
            violations: Vec::new(),
            seconds,
        }
    }
}

/// What a person must know of it, with the violations.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recovery = self.recovery_s.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.1} s"));
        write!(f, "{}: {:?}, recovered after {recovery}, in {:.0} s", self.row, self.verdict, self.seconds)?;
        for violation in self.violations.iter().take(SHOWN) {
            write!(f, "\n  {violation}")?;
        }
        match self.violations.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// The table, in Markdown.
#[must_use]
pub fn table(lines: &[Line]) -> String {
    let mut table = String::from(
        "| row | operations | ok | refused | failed | unknown | unresolved | recovery s | bound s | longest pause s | void | violations | verdict |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for line in lines {
        let recovery = line.recovery_s.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1}"));
        let verdict = format!("{:?}", line.verdict).to_lowercase();
        table += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {recovery} | {} | {:.1} | {} | {} | {verdict} |\n",
            line.row,
            line.operations,
            line.ok,
            line.refused,
            line.failed,
            line.unknown,
            line.unresolved,
            line.bound_s,
            line.longest_pause_s,
            line.void_records,
            line.violations.len(),
        );
    }
    table
}
