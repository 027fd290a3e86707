//! Chance, all of it from one seed.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

/// A stream of random numbers. Clones share it: whoever draws, in whatever order, draws from the same stream, and the order
/// is the same for the same seed.
#[derive(Clone)]
pub(crate) struct Random(Arc<Mutex<u64>>);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn wide(&self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    pub fn within(&self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start).max(1)
    }

    pub fn index(&self, len: usize) -> usize {
        (self.next() % len.max(1) as u64) as usize
    }

    /// True so many times in a thousand.
    pub fn per_mille(&self, times: u64) -> bool {
        self.next() % 1_000 < times
    }

    pub fn pick<'t, T>(&self, from: &'t [T]) -> Option<&'t T> {
        from.get(self.index(from.len()))
    }
}
