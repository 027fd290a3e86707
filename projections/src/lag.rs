//! How far the views and those of their generations that are being built are behind the log: as metrics, and as a short history
//! that tells whether it gets better, and when it will be over.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use eventlog::{EventLog, LogError, Partition};
use parking_lot::RwLock;
use tokio::time::{Instant, sleep};

use crate::metrics::{LAG_EVENTS, LAG_SECONDS};
use crate::progress::{Progress, ViewState};

/// How often the log is asked for its ends.
const EVERY: Duration = Duration::from_secs(5);

/// Over how many measurements the trend is taken: a minute, in which MongoDB writes once what it owes to its disk, and is slow then.
const HISTORY: usize = 13;

/// A view, and the number of a generation of it.
type Which = (&'static str, u32);

/// How far each generation that this process folds or follows was behind the log when it was measured last. Clones share.
#[derive(Clone, Default)]
pub struct Lags(Arc<RwLock<BTreeMap<Which, VecDeque<Measured>>>>);

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    at: Instant,
    /// Records that were folded.
    folded: u64,
    /// Records that were not.
    events: u64,
    age: Duration,
}

/// How far a view is behind the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lag {
    /// Records between the view and the log's end.
    pub events: u64,
    /// Age of the oldest record that the view has not folded.
    pub age: Duration,
    /// How long ago that was so.
    pub measured: Duration,
    /// How many events it falls behind each second, over the last minute: negative when it catches up.
    pub trend: Option<f64>,
    /// How many records it folds each second, over the last minute.
    pub rate: Option<f64>,
    /// When it will have caught up, if it goes on so and the log goes on growing so; none where less is missing than it folds in
    /// a second.
    pub eta: Option<Duration>,
}

impl Lags {
    /// How far a generation of `view` is behind; `None` until it was measured.
    #[must_use]
    pub fn of(&self, view: &'static str, generation: u32) -> Option<Lag> {
        let lags = self.0.read();
        let history = lags.get(&(view, generation))?;
        let (first, last) = (history.front()?, history.back()?);
        let seconds = (last.at - first.at).as_secs_f64();
        let per_second = |from: u64, to: u64| (seconds > 0.0).then(|| (to as f64 - from as f64) / seconds);
        let (trend, rate) = (per_second(first.events, last.events), per_second(first.folded, last.folded));
        // What is folded in a second is under way, not behind.
        let behind = rate.is_some_and(|rate| last.events as f64 > rate);
        let closing = trend.map(|trend| -trend).filter(|closing| *closing > 0.0 && behind);
        let eta = closing.and_then(|closing| Duration::try_from_secs_f64(last.events as f64 / closing).ok());
        Some(Lag { events: last.events, age: last.age, measured: last.at.elapsed(), trend, rate, eta })
    }

    fn add(&self, which: Which, measured: Measured) {
        let mut lags = self.0.write();
        let history = lags.entry(which).or_default();
        history.push_back(measured);
        if history.len() > HISTORY {
            history.pop_front();
        }
    }
}

/// A generation, and offset of the next record to fold of each partition.
type Standing = (Which, Vec<(Partition, u64)>);

/// Measures until it is dropped.
pub(crate) async fn measure(log: Arc<dyn EventLog>, progress: Progress, lags: Lags) {
    loop {
        // Of one that has not been at its store it is not known yet where it stands.
        let generations = progress.generations().into_iter().filter(|(.., state)| *state != ViewState::Starting);
        let generations = generations.map(|(view, number, _)| (view, number));
        let standing: Vec<Standing> =
            generations.map(|which| (which, progress.generation_reflects(which.0, which.1))).collect();
        lags.0.write().retain(|which, _| standing.iter().any(|(other, _)| other == which));
        let asked = Arc::clone(&log);
        match tokio::task::spawn_blocking(move || look(&*asked, &standing)).await {
            Ok(Ok(measured)) => {
                for ((view, number), measured) in measured {
                    if progress.live(view) == Some(number) {
                        ::metrics::gauge!(LAG_EVENTS, "view" => view).set(measured.events as f64);
                        ::metrics::gauge!(LAG_SECONDS, "view" => view).set(measured.age.as_secs_f64());
                    }
                    lags.add((view, number), measured);
                }
            }
            Ok(Err(error)) => tracing::warn!(error = crate::projector::chain(&error), "the lag is not known"),
            Err(error) => tracing::error!(%error, "measuring the lag failed"),
        }
        sleep(EVERY).await;
    }
}

/// Each generation as it stands now. What several of them have not folded is asked for once.
fn look(log: &dyn EventLog, standing: &[Standing]) -> Result<Vec<(Which, Measured)>, LogError> {
    let (mut ends, mut times) = (BTreeMap::new(), BTreeMap::new());
    let mut measured = Vec::new();
    for (which, positions) in standing {
        let (mut folded, mut events, mut oldest) = (0, 0, None);
        for &(partition, next) in positions {
            let end = match ends.get(&partition) {
                Some(end) => *end,
                None => *ends.entry(partition).or_insert(log.end(partition)?),
            };
            folded += next;
            events += end.saturating_sub(next);
            if next < end {
                let time = match times.get(&(partition, next)) {
                    Some(time) => *time,
                    None => *times.entry((partition, next)).or_insert(time_of(log, partition, next)?),
                };
                oldest = [oldest, time].into_iter().flatten().min();
            }
        }
        measured
            .push((*which, Measured { at: Instant::now(), folded, events, age: oldest.map_or(Duration::ZERO, age) }));
    }
    Ok(measured)
}

fn time_of(log: &dyn EventLog, partition: Partition, offset: u64) -> Result<Option<Timestamp>, LogError> {
    Ok(log.record(partition, offset)?.map(|stored| stored.timestamp))
}

fn age(time: Timestamp) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(u64::try_from(time.0).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use eventlog::Record;
    use eventlog::embedded::EmbeddedLog;
    use schemas::topics::ORDER;

    use super::*;

    #[test]
    fn a_view_is_as_far_behind_as_its_oldest_record_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(dir.path(), &[&ORDER]).unwrap();
        let [a, b] = [3, 4].map(|number| Partition { topic: &ORDER, number });
        append(&log, &[a, a, b]);
        std::thread::sleep(Duration::from_millis(120));
        append(&log, &[b]);
        let all = [(1, vec![(a, 2), (b, 2)]), (2, vec![(a, 2), (b, 1)]), (3, vec![(a, 0), (b, 1)])];
        let measured = look(&log, &all.map(|(number, positions)| (("v", number), positions))).unwrap();
        let events: Vec<_> =
            measured.iter().map(|((_, number), measured)| (*number, measured.folded, measured.events)).collect();
        assert_eq!(events, [(1, 4, 0), (2, 3, 1), (3, 1, 3)]);
        let ages: Vec<_> = measured.iter().map(|(_, measured)| measured.age).collect();
        let pause = Duration::from_millis(100);
        assert!(ages[0] == Duration::ZERO && ages[1] + pause < ages[2], "{ages:?}");
    }

    fn append(log: &EmbeddedLog, to: &[Partition]) {
        let (tell, told) = std::sync::mpsc::channel();
        let appender = log.appender(Arc::new(move |report| tell.send(report).unwrap())).unwrap();
        for partition in to {
            let record = Record { key: Bytes::new(), headers: Arc::default(), payload: Bytes::new() };
            appender.append(*partition, &record, 0).unwrap();
            told.recv().unwrap().outcome.unwrap();
        }
    }

    #[test]
    fn the_trend_says_when_it_will_have_caught_up() {
        let lags = Lags::default();
        assert_eq!(lags.of("v", 1), None);
        let start = Instant::now();
        // The log grows by 20 a second.
        let add = |second: u64, events: u64| {
            let (at, folded) = (start + Duration::from_secs(second), 5_000 + 20 * second - events);
            lags.add(("v", 1), Measured { at, folded, events, age: Duration::from_secs(9) });
            let lag = lags.of("v", 1).unwrap();
            (lag.events, lag.trend, lag.rate, lag.eta)
        };
        assert_eq!(add(0, 1_000), (1_000, None, None, None));
        assert_eq!(add(5, 1_500), (1_500, Some(100.0), Some(-80.0), None));
        assert_eq!(add(10, 900), (900, Some(-10.0), Some(30.0), Some(Duration::from_secs(90))));
        // Only the last minute counts.
        for second in (15..=70).step_by(5) {
            add(second, 900);
        }
        assert_eq!(add(75, 30), (30, Some(-14.5), Some(34.5), None));
        assert_eq!(lags.of("v", 2), None);
    }
}
