//! Leaving processors and stores to others: what has a rate works in small steps, and rests after each.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How many times as long as a step it rests, however slow the store is …
const TIMES: u32 = 3;
/// … but no longer than this.
const MAX: Duration = Duration::from_secs(1);
/// A step of what works without waiting for anybody.
const STEP: Duration = Duration::from_millis(4);

/// How long to rest after a step that took so long.
pub(crate) fn after(worked: Duration) -> Duration {
    (worked * TIMES).min(MAX)
}

/// Rests between the steps of work that keeps a thread of its own busy.
pub struct Rests {
    /// `None`: never.
    since: Option<Instant>,
}

impl Rests {
    /// For work on a generation with this rate; 0 is no bound, and no rests.
    #[must_use]
    pub fn at_rate(rate: u64) -> Self {
        Self { since: (rate > 0).then(Instant::now) }
    }

    /// Sleeps if a step is over. To be called often.
    pub fn rest(&mut self) {
        let Some(since) = &mut self.since else { return };
        let worked = since.elapsed();
        if worked >= STEP {
            sleep(after(worked));
            *since = Instant::now();
        }
    }
}
