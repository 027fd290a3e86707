//! Figures of a bench: rounds become one row, rows become JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::closed_loop::Measured;

/// One figure of a bench, as `--json` writes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which bench.
    pub bench: &'static str,
    /// What was measured.
    pub subject: String,
    /// Connections that asked at once; 1 where there are none.
    pub connections: usize,
    /// Median over the rounds.
    pub per_second: f64,
    /// Median over the rounds, in milliseconds.
    pub p50_ms: f64,
    /// Median over the rounds, in milliseconds.
    pub p99_ms: f64,
}

/// The rounds of one subject at one number of connections.
#[derive(Debug, Clone, Default)]
pub struct Rounds(pub Vec<Measured>);

impl Rounds {
    /// Median of one figure over the rounds.
    #[must_use]
    pub fn median(&self, figure: impl Fn(&Measured) -> f64) -> f64 {
        median(self.0.iter().map(figure).collect())
    }

    /// Lowest and highest rate.
    #[must_use]
    pub fn spread(&self) -> (f64, f64) {
        let rates = self.0.iter().map(|round| round.per_second);
        rates.fold((f64::INFINITY, 0.0), |(low, high), rate| (low.min(rate), high.max(rate)))
    }

    /// The row that stands for them.
    #[must_use]
    pub fn row(&self, bench: &'static str, subject: &str, connections: usize) -> Row {
        Row {
            bench,
            subject: subject.to_owned(),
            connections,
            per_second: self.median(|round| round.per_second),
            p50_ms: self.median(|round| round.p50_ms),
            p99_ms: self.median(|round| round.p99_ms),
        }
    }
}

/// The middle value; between two, their mean; 0 of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// Writes `rows` as one JSON array.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(file: &Path, rows: &[impl Serialize]) -> Result<()> {
    let text = serde_json::to_string_pretty(rows).context("rendering the rows")?;
    fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_median_and_has_exactly_the_fields_that_are_promised() {
        let round = |per_second| Measured { answered: 1, per_second, p50_ms: 1.0, p99_ms: 2.0 };
        let rounds = Rounds(vec![round(30.0), round(10.0), round(11.0)]);
        assert_eq!(rounds.spread(), (10.0, 30.0));
        let json = serde_json::to_string(&rounds.row("commands", "kafka", 64)).unwrap();
        assert_eq!(
            json,
            r#"{"bench":"commands","subject":"kafka","connections":64,"per_second":11.0,"p50_ms":1.0,"p99_ms":2.0}"#
        );
        assert!((median(vec![1.0, 4.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    }
}
