//! How fast a generation is folded beside live traffic.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How fast a generation is folded until it is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As fast as log and store take it.
    #[default]
    Unbounded,
    /// So that live traffic hardly feels it, however slow the store is: in small steps, with a rest of nine times as long after
    /// each. On two shared cores with all servers on them the p99 of commands was 1.05 to 1.12 times as long (README).
    Gentle,
    /// No more than so many events a second, one or more.
    Rate(u64),
}

/// Most records of a batch that is written gently.
const GENTLE_EVENTS: usize = 50;
/// Parts of a second into which a rate is divided.
const MOMENTS: u64 = 50;
/// How many times as long as a step it rests …
const TIMES: u32 = 9;
/// … but no longer than this.
const MAX: Duration = Duration::from_secs(1);
/// A step of what works without waiting for anybody.
const STEP: Duration = Duration::from_millis(1);

impl Pace {
    /// Most records of a batch, of at most `most`: live traffic feels what is done at once.
    pub(crate) fn batch_events(self, most: usize) -> usize {
        match self {
            Self::Unbounded => most,
            Self::Gentle => most.min(GENTLE_EVENTS),
            Self::Rate(rate) => most.min(usize::try_from(rate / MOMENTS).unwrap_or(usize::MAX).max(1)),
        }
    }

    /// How long to rest after a step that took so long.
    pub(crate) fn rest_after(self, worked: Duration) -> Option<Duration> {
        (self == Self::Gentle).then(|| (worked * TIMES).min(MAX))
    }

    /// How long reading so many records is to take at least.
    pub(crate) fn due(self, records: u64) -> Option<Duration> {
        let Self::Rate(rate) = self else { return None };
        records.saturating_mul(1_000_000_000).checked_div(rate).map(Duration::from_nanos)
    }
}

/// Rests between the steps of work that keeps a thread of its own busy.
pub struct Rests {
    pace: Pace,
    since: Instant,
    /// How much longer it may rest.
    left: Duration,
}

impl Rests {
    /// For work on a generation of that pace.
    #[must_use]
    pub fn at(pace: Pace) -> Self {
        Self { pace, since: Instant::now(), left: Duration::MAX }
    }

    /// No longer than that in all.
    pub(crate) fn within(self, left: Duration) -> Self {
        Self { left, ..self }
    }

    /// Until now others were waited for, which is no work.
    pub(crate) fn waited(&mut self) {
        self.since = Instant::now();
    }

    /// Sleeps if a step is over. To be called often.
    pub fn rest(&mut self) {
        let worked = self.since.elapsed();
        if worked < STEP {
            return;
        }
        if let Some(rest) = self.pace.rest_after(worked).map(|rest| rest.min(self.left)) {
            sleep(rest);
            self.left -= rest;
        }
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gentle_works_a_tenth_of_the_time() {
        let step = Duration::from_millis(3);
        assert_eq!(Pace::Gentle.rest_after(step), Some(9 * step));
        assert_eq!(Pace::Gentle.rest_after(Duration::from_secs(30)), Some(MAX));
        assert_eq!(Pace::Unbounded.rest_after(step), None);
        assert_eq!([Pace::Gentle, Pace::Unbounded].map(|pace| pace.batch_events(2_000)), [50, 2_000]);
    }

    #[test]
    fn a_rate_is_kept_in_moments() {
        let batches = [1, 100, 5_000, u64::MAX].map(|rate| Pace::Rate(rate).batch_events(2_000));
        assert_eq!(batches, [1, 2, 100, 2_000]);
        assert_eq!(Pace::Rate(5_000).due(100), Some(Duration::from_millis(20)));
        assert_eq!(Pace::Rate(5_000).rest_after(MAX), None);
    }

    #[test]
    fn rests_end_where_there_is_no_time_for_more() {
        let mut rests = Rests::at(Pace::Gentle).within(Duration::from_millis(12));
        let begun = Instant::now();
        for _ in 0..3 {
            sleep(2 * STEP);
            rests.rest();
        }
        assert_eq!(rests.left, Duration::ZERO);
        assert!(begun.elapsed() >= Duration::from_millis(18));
    }
}
