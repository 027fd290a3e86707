//! Pauses between attempts: longer each time, and never the same for two that failed together.

use std::time::Duration;

use uuid::Uuid;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one operation; start anew when it has succeeded.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// How long to wait now: between half and all of a bound that doubles from 50 ms up to 5 s.
    pub(super) fn pause(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts += 1;
        let (random, _) = Uuid::new_v4().as_u64_pair();
        bound.mul_f64(0.5 + f64::from(random as u32) / f64::from(u32::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        assert!(pauses[39] >= LONGEST / 2 && pauses[39] <= LONGEST);
    }
}
