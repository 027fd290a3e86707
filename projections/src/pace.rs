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
    /// No more than so many events a second, one or more, in small steps; and where the store is slow, half of the time at most.
    Rate(u64),
}

/// Parts of a second into which a rate is divided.
const MOMENTS: u64 = 40;
/// Longest rest.
const REST_MAX: Duration = Duration::from_secs(1);
/// How many records or rows are gone through in the time in which one event is folded into a store.
const COMPARED: u64 = 4;
/// Shortest rest of a comparison: timers tick in milliseconds.
const REST_MIN: Duration = Duration::from_millis(1);

impl Pace {
    /// Most records of a batch, of at most `most`: live traffic feels what is done at once.
    pub(crate) fn batch_events(self, most: usize) -> usize {
        match self {
            Self::Unbounded => most,
            Self::Rate(rate) => most.min(usize::try_from(rate / MOMENTS).unwrap_or(usize::MAX).max(1)),
        }
    }

    /// How long to rest after a step that took so long.
    pub(crate) fn rest_after(self, worked: Duration) -> Option<Duration> {
        (self != Self::Unbounded).then(|| worked.min(REST_MAX))
    }

    /// How long folding so many records is to take at least.
    pub(crate) fn due(self, records: u64) -> Option<Duration> {
        let Self::Rate(rate) = self else { return None };
        records.saturating_mul(1_000_000_000).checked_div(rate).map(Duration::from_nanos)
    }
}

/// Rests between the steps of a comparison, which keeps a thread of its own busy.
pub struct Rests {
    pace: Pace,
    since: Instant,
    steps: u64,
    /// How much longer it may rest.
    left: Duration,
}

impl Rests {
    /// For the comparison of a generation that is folded at this pace.
    #[must_use]
    pub fn at(pace: Pace) -> Self {
        Self { pace, since: Instant::now(), steps: 0, left: Duration::MAX }
    }

    /// No longer than that in all.
    pub(crate) fn within(self, left: Duration) -> Self {
        Self { left, ..self }
    }

    /// Most records to read at once, of at most `most`.
    pub(crate) fn batch_events(&self, most: usize) -> usize {
        self.pace.batch_events(most)
    }

    /// Rests if it is too early for another step: a record that is folded, or a row.
    pub fn rest(&mut self) {
        self.steps += 1;
        let Some(due) = self.pace.due(self.steps / COMPARED) else { return };
        let early = due.saturating_sub(self.since.elapsed()).min(self.left);
        if early >= REST_MIN {
            sleep(early);
            self.left -= early;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_in_moments() {
        let batches = [1, 100, 5_000, u64::MAX].map(|rate| Pace::Rate(rate).batch_events(2_000));
        assert_eq!(batches, [1, 2, 125, 2_000]);
        assert_eq!(Pace::Unbounded.batch_events(2_000), 2_000);
        assert_eq!(Pace::Rate(5_000).due(100), Some(Duration::from_millis(20)));
    }

    #[test]
    fn a_slow_store_is_worked_with_half_of_the_time() {
        let step = Duration::from_millis(300);
        assert_eq!(Pace::Rate(5_000).rest_after(step), Some(step));
        assert_eq!(Pace::Rate(5_000).rest_after(5 * step), Some(REST_MAX));
        assert_eq!(Pace::Unbounded.rest_after(step), None);
    }

    #[test]
    fn a_comparison_rests_until_there_is_no_time_for_more() {
        let begun = Instant::now();
        let mut rests = Rests::at(Pace::Rate(1_000)).within(Duration::from_millis(30));
        (0..80).for_each(|_| rests.rest());
        assert!(begun.elapsed() >= Duration::from_millis(19), "{:?}", begun.elapsed());
        // That would be 25 seconds.
        (0..100_000).for_each(|_| rests.rest());
        assert_eq!(rests.left, Duration::ZERO);
    }
}
