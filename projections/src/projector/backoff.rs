//! Pauses between attempts: longer each time, and never the same for two that failed together.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Where chance comes from: random bits.
pub type Chance = Arc<dyn Fn() -> u32 + Send + Sync>;

/// The system's.
pub(super) fn system() -> Chance {
    Arc::new(|| Uuid::new_v4().as_u64_pair().0 as u32)
}

/// The pauses of one operation; start anew when it has succeeded.
pub(super) struct Backoff {
    attempts: u32,
    chance: Chance,
}

impl Backoff {
    pub(super) fn new(chance: &Chance) -> Self {
        Self { attempts: 0, chance: Arc::clone(chance) }
    }

    /// How long to wait now: between half and all of a bound that doubles from 50 ms up to 5 s.
    pub(super) fn pause(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts += 1;
        bound.mul_f64(0.5 + f64::from((self.chance)()) / f64::from(u32::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut backoff = Backoff::new(&system());
        let pauses: Vec<_> = (0..40).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        assert!(pauses[39] >= LONGEST / 2 && pauses[39] <= LONGEST);
    }
}
