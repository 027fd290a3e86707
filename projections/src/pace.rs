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
    /// So that live traffic hardly feels it: no more than [`GENTLE_RATE`], and the store is worked with a twentieth of the time at most, so
    /// that one which is strained is asked for less.
    Gentle,
    /// No more than so many events a second, one or more, in small steps; and where the store is slow, half of the time at most.
    Rate(u64),
}

/// Most events a second of [`Pace::Gentle`] (README: on two shared cores).
pub const GENTLE_RATE: u64 = 1_200;
/// How much longer than it was worked with a store is left alone by [`Pace::Gentle`].
const GENTLE_RESTS: u32 = 19;
/// Longest rest.
const REST_MAX: Duration = Duration::from_secs(3);
/// How many records or rows are gone through in the time in which one event is folded into a store.
const COMPARED: u64 = 2;
/// Shortest rest of a comparison: timers tick in milliseconds.
const REST_MIN: Duration = Duration::from_millis(1);

impl Pace {
    /// Most records of a batch, of at most `most`: live traffic feels what is done at once.
    pub(crate) fn batch_events(self, most: usize) -> usize {
        let Some(rate) = self.rate() else { return most };
        most.min(usize::try_from(rate / self.moments()).unwrap_or(usize::MAX).max(1))
    }

    /// Most events a second, if there is a bound.
    #[must_use]
    pub fn rate(self) -> Option<u64> {
        match self {
            Self::Unbounded => None,
            Self::Gentle => Some(GENTLE_RATE),
            Self::Rate(rate) => Some(rate),
        }
    }

    /// Parts of a second into which its rate is divided: a few commits burden a store less than many, and high rates need small
    /// steps, because what is done at once is felt.
    fn moments(self) -> u64 {
        if self == Self::Gentle { 10 } else { 40 }
    }

    /// How long to rest after a step that took so long, in which all was done that a moment may have, or all that there was.
    pub(crate) fn rest_after(self, worked: Duration, full: bool) -> Option<Duration> {
        let rests = match self {
            Self::Unbounded => return None,
            Self::Gentle => worked * GENTLE_RESTS,
            Self::Rate(_) => worked,
        };
        let moment = Duration::from_millis(1_000 / self.moments());
        let gathers = if full { Duration::ZERO } else { moment.saturating_sub(worked) };
        Some(rests.min(REST_MAX).max(gathers))
    }

    /// Whether somebody may wait for what is written next.
    pub(crate) fn is_awaited(self) -> bool {
        self == Self::Unbounded
    }

    /// How long folding so many records is to take at least.
    pub(crate) fn due(self, records: u64) -> Option<Duration> {
        records.saturating_mul(1_000_000_000).checked_div(self.rate()?).map(Duration::from_nanos)
    }
}

/// Rests between the steps of a comparison, which keeps a thread of its own busy.
pub struct Rests {
    pace: Pace,
    since: Instant,
    steps: u64,
}

impl Rests {
    /// For the comparison of a generation that is folded at this pace.
    #[must_use]
    pub fn at(pace: Pace) -> Self {
        Self { pace, since: Instant::now(), steps: 0 }
    }

    /// Most records to read at once, of at most `most`.
    pub(crate) fn batch_events(&self, most: usize) -> usize {
        self.pace.batch_events(most)
    }

    /// Most rows to read at one moment, of at most `most`: no more than are gone through in a second, because the store has to keep
    /// that moment meanwhile.
    pub(crate) fn part_rows(&self, most: usize) -> usize {
        let Some(rate) = self.pace.rate() else { return most };
        most.min(usize::try_from(rate.saturating_mul(COMPARED)).unwrap_or(most).max(1))
    }

    /// Rests if it is too early for another step after so many: records that are folded, or rows.
    pub fn rest(&mut self, steps: usize) {
        self.steps += steps as u64;
        let Some(due) = self.pace.due(self.steps / COMPARED) else { return };
        let early = due.saturating_sub(self.since.elapsed());
        if early >= REST_MIN {
            sleep(early);
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
        assert_eq!(Pace::Rate(5_000).rest_after(step, true), Some(step));
        assert_eq!(Pace::Rate(5_000).rest_after(20 * step, true), Some(REST_MAX));
        assert_eq!(Pace::Unbounded.rest_after(step, true), None);
    }

    #[test]
    fn a_strained_store_is_asked_for_less() {
        let (quick, slow) = (Duration::from_millis(10), Duration::from_millis(100));
        assert_eq!(
            [quick, slow].map(|worked| Pace::Gentle.rest_after(worked, true)),
            [19 * quick, 19 * slow].map(Some)
        );
        assert_eq!(Pace::Gentle.rest_after(slow * 5, true), Some(REST_MAX));
        assert_eq!(Pace::Gentle.batch_events(2_000), 120);
        assert_eq!(Pace::Gentle.due(120), Some(Duration::from_millis(100)));
    }

    #[test]
    fn what_nobody_waits_for_is_gathered() {
        let [quick, slow] = [5, 20].map(Duration::from_millis);
        let rests = |worked, full| Pace::Rate(5_000).rest_after(worked, full);
        assert_eq!([rests(quick, true), rests(quick, false)], [Some(quick), Some(Duration::from_millis(25) - quick)]);
        assert_eq!([rests(slow, true), rests(slow, false)], [Some(slow); 2]);
        assert_eq!(Pace::Gentle.rest_after(quick / 5, false), Some(Duration::from_millis(100) - quick / 5));
        assert_eq!(Pace::Unbounded.rest_after(quick, false), None);
    }

    #[test]
    fn a_store_keeps_a_moment_for_a_second_at_most() {
        let rows = |pace| Rests::at(pace).part_rows(500);
        assert_eq!([1, 100, 250, u64::MAX].map(|rate| rows(Pace::Rate(rate))), [2, 200, 500, 500]);
        assert_eq!([Pace::Gentle, Pace::Unbounded].map(rows), [500; 2]);
    }

    #[test]
    fn a_comparison_rests() {
        let begun = Instant::now();
        let mut rests = Rests::at(Pace::Rate(1_000));
        (0..40).for_each(|_| rests.rest(2));
        assert!(begun.elapsed() >= Duration::from_millis(19), "{:?}", begun.elapsed());
        let mut none = Rests::at(Pace::Unbounded);
        // That would be 25 seconds.
        none.rest(100_000);
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
