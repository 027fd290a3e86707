//! A replay by the operators' API, and how its forecasts compare with what came.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hyper::Method;
use hyper::header::HeaderName;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use super::live::{Beside, Stage};
use crate::http::Connection;

/// How often it is looked how a replay is coming on.
const LOOK: Duration = Duration::from_millis(250);
/// The same of a comparison, whose cost for others is measured: each look asks the log for the ends and times of all partitions.
const LOOK_COMPARED: Duration = Duration::from_secs(2);
/// How long a change takes to be felt: what is wished of a generation is carried out within a quarter of a second, and who begins to
/// read fetches some MiB at once.
const CHANGE: Duration = Duration::from_secs(2);
/// Longest wait for one answer: a comparison reads everything.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait until a generation has caught up, or was compared.
const PATIENCE: Duration = Duration::from_secs(7_200);
const OPERATOR: HeaderName = HeaderName::from_static("lonja-operator");

/// A replay from its start to its promotion.
#[derive(Debug, Clone, Serialize)]
pub struct Replay {
    /// Of which view.
    pub view: String,
    /// Records that it folded after the last round, until it had caught up …
    pub records: u64,
    /// … and in all.
    pub records_in_all: u64,
    /// How long that took.
    pub seconds: f64,
    /// Greatest difference between the end and the end that was forecast, once a tenth was done, as a share of the whole time.
    pub eta_error: f64,
    /// How long the comparison with the log took.
    pub verify_seconds: f64,
    /// Rows that were compared …
    pub rows: u64,
    /// … and how many are not what the log says.
    pub differences: u64,
    /// How long it took to make it live.
    pub promote_ms: f64,
}

/// How often the replay goes on and pauses in turn, so that the traffic is measured with it and without it in the same
/// minutes.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Rounds {
    /// Rounds, each with the replay going on, and paused
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Seconds of each half of a round, a quarter more or less
    #[arg(long, default_value_t = 10.0)]
    pub round_seconds: f64,
}

/// The operators' API of one process.
pub struct Operators(SocketAddr);

impl Operators {
    pub fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Begins to build a view anew at Lonja's own pace, and lets it go on and pause in turn. Gives the generation, and how many
    /// events a second it folded while it went on.
    pub fn rounds(&self, view: &str, rounds: Rounds, stage: &Stage) -> Result<(u64, f64)> {
        let generation = self.change("start", &json!({ "view": view, "reason": "a bench" }))?;
        let generation = generation["generation"].as_u64().context("a generation without a number")?;
        let chosen = json!({ "view": view, "generation": generation, "reason": "a bench" });
        let half = |beside, number| {
            sleep(CHANGE);
            stage.set(beside);
            sleep(Duration::from_secs_f64(rounds.round_seconds * stretched(number)));
            stage.set(Beside::Change);
        };
        let mut going = Duration::ZERO;
        for round in 0..rounds.rounds {
            let resumed = Instant::now();
            half(Beside::Replay, 2 * round);
            let row = self.standing(view, generation)?;
            ensure!(row["state"] == "building", "it is over before the rounds are: more events, or fewer rounds");
            self.change("pause", &chosen)?;
            going += resumed.elapsed();
            half(Beside::Nothing, 2 * round + 1);
            if round + 1 < rounds.rounds {
                self.change("resume", &chosen)?;
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a log has far fewer than 2^53 records")]
        let folded = count(&self.standing(view, generation)?, "records") as f64;
        Ok((generation, folded / going.as_secs_f64()))
    }

    /// Builds it to the end, compares it with the log, makes it live, and retires the former generation.
    pub fn replay(&self, view: &str, generation: u64, rate: Option<u64>, stage: &Stage) -> Result<Replay> {
        let rows = self.list(view)?;
        let former = rows.iter().find(|row| row["state"] == "live");
        let former = former.map(|row| row["generation"].clone()).context("no generation is live")?;
        let chosen = json!({ "view": view, "generation": generation, "reason": "a bench" });
        let faster = json!({ "view": view, "generation": generation, "rate": rate, "reason": "a bench" });
        self.change("resume", &faster)?;
        let (begun, first) = (Instant::now(), count(&self.standing(view, generation)?, "records"));
        let (records, seconds, forecasts) = self.watch(view, generation, begun, first)?;
        stage.set(Beside::Comparison);
        let verifying = Instant::now();
        self.change("verify", &chosen)?;
        let verified = loop {
            let row = self.standing(view, generation)?;
            if let Some(trouble) = row["trouble"].as_str() {
                bail!("{view} could not be compared: {trouble}");
            }
            if row["verified"].is_object() {
                break row["verified"].clone();
            }
            ensure!(verifying.elapsed() < PATIENCE, "{view} is still being compared");
            sleep(LOOK_COMPARED);
        };
        let verify_seconds = verifying.elapsed().as_secs_f64();
        stage.set(Beside::Change);
        let promoting = Instant::now();
        self.change("promote", &chosen)?;
        let promote_ms = promoting.elapsed().as_secs_f64() * 1_000.0;
        self.change("retire", &json!({ "view": view, "generation": former, "reason": "a bench" }))?;
        Ok(Replay {
            view: view.to_owned(),
            records,
            records_in_all: first + records,
            seconds,
            eta_error: error(&forecasts, seconds),
            verify_seconds,
            rows: count(&verified, "rows"),
            differences: verified["differences"].as_u64().context("a comparison without an outcome")?,
            promote_ms,
        })
    }

    /// From record `first` until it has caught up: how many records, how long, and at which second which end was forecast.
    fn watch(&self, view: &str, generation: u64, begun: Instant, first: u64) -> Result<(u64, f64, Vec<(f64, f64)>)> {
        let bar = ProgressBar::new(0);
        bar.set_style(
            ProgressStyle::with_template("{msg:<14} {bar:30} {pos}/{len} {per_sec}").context("progress bar")?,
        );
        bar.set_message(view.to_owned());
        let mut forecasts = Vec::new();
        loop {
            let row = self.standing(view, generation)?;
            let seconds = begun.elapsed().as_secs_f64();
            let (total, folded) = (count(&row, "total"), count(&row, "records").saturating_sub(first));
            bar.set_length(total);
            bar.set_position(first + folded);
            if row["state"] != "building" {
                bar.finish_and_clear();
                return Ok((folded, seconds, forecasts));
            }
            if let Some(eta) = row["eta_seconds"].as_f64().filter(|_| 10 * folded >= total.saturating_sub(first)) {
                forecasts.push((seconds, seconds + eta));
            }
            ensure!(begun.elapsed() < PATIENCE, "{view} does not catch up: {row}");
            sleep(LOOK);
        }
    }

    fn list(&self, view: &str) -> Result<Vec<Value>> {
        let list = self.ask(Method::GET, &format!("/v1/replays?view={view}"), &Value::Null)?;
        list["data"].as_array().cloned().context("no list")
    }

    fn standing(&self, view: &str, generation: u64) -> Result<Value> {
        let rows = self.list(view)?;
        let row = rows.iter().find(|row| row["generation"] == generation);
        row.cloned().with_context(|| format!("generation {generation} of {view} is gone"))
    }

    fn change(&self, verb: &str, body: &Value) -> Result<Value> {
        self.ask(Method::POST, &format!("/v1/replays/{verb}"), body)
    }

    fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
        let answer = runtime.block_on(async {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let mut connection = Connection::open(self.0).await?;
            let headers = [(OPERATOR, "bench")];
            let asked = connection.send(method, path, &headers, body.into());
            tokio::time::timeout(ANSWER_TIMEOUT, asked).await.context("no answer")?
        })?;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status.is_success(), "{path} answered {}: {text}", answer.status);
        serde_json::from_str(&text).with_context(|| format!("{path} answered {text}"))
    }
}

/// By how much the half of this number is longer or shorter, all lengths between alike (the golden ratio's multiples): else what
/// databases do once a minute would meet the same half again and again.
fn stretched(number: u32) -> f64 {
    0.75 + 0.5 * (f64::from(number) * 0.618_033_988_749_895).fract()
}

fn count(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap_or(0)
}

/// The greatest difference between forecast ends and the end, as a share of the whole time.
fn error(forecasts: &[(f64, f64)], end: f64) -> f64 {
    forecasts.iter().map(|(_, forecast)| (forecast - end).abs() / end).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_of_all_lengths_about_one() {
        let halves: Vec<f64> = (0..60).map(stretched).collect();
        assert!(halves.iter().all(|half| (0.75..1.25).contains(half)), "{halves:?}");
        for kind in 0..2 {
            let mean = halves.iter().skip(kind).step_by(2).sum::<f64>() / 30.0;
            assert!((mean - 1.0).abs() < 0.02, "{mean}");
        }
    }

    #[test]
    fn the_worst_forecast_counts() {
        assert!((error(&[(1.0, 11.0), (5.0, 9.5), (9.0, 10.0)], 10.0) - 0.1).abs() < 1e-9);
        assert!(error(&[], 10.0).abs() < f64::EPSILON);
    }
}
