//! How a generation is coming on.

use std::sync::Arc;

use domain::Timestamp;
use eventlog::{EventLog, LogError, Partition};
use projections::ViewState;
use projections::generations::{Generation, Notes, Verified, now};
use serde::Serialize;

use super::deeds::Reached;
use super::scope;
use crate::parked::unavailable;
use crate::problem::{INTERNAL_ERROR, LOG_UNAVAILABLE, Problem, VIEW_NOT_FOUND};
use crate::range::time;
use crate::server::Shared;

/// Records behind the log's end up to which a generation counts as caught up.
const NEAR: u64 = 1_000;

/// One generation.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    pub view: &'static str,
    pub generation: u32,
    /// `live`; `previous` (it was live and is still folded); `paused`; `building`; `catching_up`; `verified`.
    pub state: &'static str,
    /// What its projector says, where it runs in this process.
    pub projector: Option<String>,
    /// Records before its checkpoints.
    pub records: u64,
    /// Records of the log.
    pub total: u64,
    /// Records that are missing.
    pub lag_events: u64,
    /// Age of the oldest record that is missing, in seconds.
    pub lag_seconds: f64,
    /// Over the last minute; where that was not measured, the mean since it was started, pauses left out.
    pub events_per_second: Option<f64>,
    /// Seconds until it has caught up, if it and the log go on so.
    pub eta_seconds: Option<f64>,
    /// Most events a second; 0 is no bound.
    pub rate: u64,
    /// The partitions that it folds, where these are not all.
    pub partitions: Option<Vec<String>>,
    /// Where it begins: an offset or a time; nothing at the start of the log.
    pub from: Option<String>,
    pub started_at: Option<String>,
    pub operator: String,
    pub reason: String,
    pub verified: Option<Verified>,
    /// Why the last comparison with the log came to nothing.
    pub trouble: Option<String>,
}

pub(super) async fn of(operators: &Shared, view: &'static str, generation: Generation) -> Result<Standing, Problem> {
    let number = generation.number;
    let reached = operators
        .views
        .each(&Reached { view, generation: number, scope: &generation.notes.scope })
        .await
        .into_iter()
        .flatten()
        .next();
    let reached = reached.ok_or_else(|| Problem::new(&VIEW_NOT_FOUND, view))?;
    let (partitions, checkpoints) = reached.map_err(unavailable)?;
    let next = |partition: Partition| checkpoints.get(&partition).map_or(0, |checkpoint| checkpoint.next);
    let positions: Vec<_> = partitions.into_iter().map(|partition| (partition, next(partition))).collect();
    let log = Arc::clone(&operators.log);
    let measured = tokio::task::spawn_blocking(move || measure(&*log, &positions)).await;
    let measured = measured.map_err(|error| Problem::caused(&INTERNAL_ERROR, &error))?;
    let Measured { records, total, oldest } = measured.map_err(|error| Problem::caused(&LOG_UNAVAILABLE, &error))?;
    let projectors = operators.progress.generations();
    let own = projectors.into_iter().find(|(name, own, _)| *name == view && *own == number);
    let Generation { live, notes, .. } = generation;
    let lag_events = total.saturating_sub(records);
    let lately = operators.lags.of(view, number).filter(|lag| lag.rate.is_some() && notes.paused_at.is_none());
    let events_per_second = lately.and_then(|lag| lag.rate).or_else(|| rate_of(&notes, records));
    let at_that_rate = || Some(lag_events as f64 / events_per_second.filter(|rate| *rate > 0.0)?);
    let eta_seconds = match lately {
        Some(lag) => lag.eta.map(|eta| eta.saturating_sub(lag.measured).as_secs_f64()),
        // Until it was measured twice nobody knows how fast the log grows meanwhile.
        None if own.is_some() => None,
        None => at_that_rate(),
    };
    Ok(Standing {
        view,
        generation: number,
        state: state(live, &notes, lag_events),
        projector: own.map(|(_, _, state)| told(state)),
        records,
        total,
        lag_events,
        lag_seconds: oldest.map_or(0.0, |oldest| seconds(now().0.saturating_sub(oldest.0))),
        events_per_second,
        eta_seconds,
        rate: notes.pace.rate().unwrap_or_default(),
        partitions: scope::shown(&notes.scope),
        from: notes.scope.from.map(scope::begin),
        started_at: notes.started_at.map(|at| time(Timestamp(at))),
        operator: notes.operator,
        reason: notes.reason,
        verified: notes.verified,
        trouble: notes.trouble,
    })
}

fn state(live: bool, notes: &Notes, lag: u64) -> &'static str {
    match () {
        () if live => "live",
        () if notes.paused_at.is_some() => "paused",
        () if notes.was_live || notes.started_at.is_none() => "previous",
        () if lag > NEAR => "building",
        () if notes.verified.as_ref().is_some_and(|verified| verified.differences == 0) => "verified",
        () => "catching_up",
    }
}

fn told(state: ViewState) -> String {
    match state {
        ViewState::Starting => "starting".to_owned(),
        ViewState::Live => "running".to_owned(),
        ViewState::Retrying { reason } => format!("trying again: {reason}"),
        ViewState::Stopped { reason } => format!("stopped: {reason}"),
    }
}

fn rate_of(notes: &Notes, records: u64) -> Option<f64> {
    let until = notes.paused_at.unwrap_or_else(|| now().0);
    let took = seconds(until - notes.started_at? - notes.paused_ms);
    (took > 0.0).then(|| records as f64 / took)
}

fn seconds(milliseconds: i64) -> f64 {
    milliseconds.max(0) as f64 / 1_000.0
}

struct Measured {
    records: u64,
    total: u64,
    /// Time of the oldest record that is missing.
    oldest: Option<Timestamp>,
}

fn measure(log: &dyn EventLog, positions: &[(Partition, u64)]) -> Result<Measured, LogError> {
    let mut measured = Measured { records: 0, total: 0, oldest: None };
    for &(partition, next) in positions {
        let end = log.end(partition)?;
        measured.records += next.min(end);
        measured.total += end;
        if next < end {
            let missing = log.record(partition, next)?.map(|stored| stored.timestamp);
            measured.oldest = measured.oldest.into_iter().chain(missing).min_by_key(|timestamp| timestamp.0);
        }
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_what_is_noted_of_it() {
        let new = Notes { started_at: Some(1), ..Notes::default() };
        let verified = |differences| Some(Verified { at: 2, rows: 1, records: 1, differences });
        for (live, notes, lag, wanted) in [
            (true, Notes::default(), 5_000, "live"),
            (false, Notes::default(), 0, "previous"),
            (false, Notes { was_live: true, ..new.clone() }, 0, "previous"),
            (false, new.clone(), NEAR + 1, "building"),
            (false, new.clone(), NEAR, "catching_up"),
            (false, Notes { paused_at: Some(3), ..new.clone() }, 0, "paused"),
            (false, Notes { verified: verified(0), ..new.clone() }, 0, "verified"),
            (false, Notes { verified: verified(1), ..new }, 0, "catching_up"),
        ] {
            assert_eq!(state(live, &notes, lag), wanted, "{notes:?}");
        }
    }

    #[test]
    fn pauses_do_not_count() {
        let notes = Notes { started_at: Some(0), paused_at: Some(10_000), paused_ms: 5_000, ..Notes::default() };
        assert_eq!(rate_of(&notes, 500), Some(100.0));
        assert_eq!(rate_of(&Notes::default(), 500), None);
    }
}
