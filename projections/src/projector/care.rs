//! Finding the event of a batch that cannot be applied: the batch is read again in halves, until it is alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::parking::{Cause, Place};

/// How many events may prove unfit one after the other, without one that is fit between: then it is not the events.
const IN_A_ROW_MAX: u32 = 8;

/// How carefully a projector goes on.
pub(super) struct Care {
    /// Most records of a batch now; read by the reader.
    limit: Arc<AtomicUsize>,
    /// Most records of a batch when all goes well.
    most: usize,
    /// Events that could be read and not be applied, until they are parked.
    pub unfit: BTreeMap<Place, Cause>,
    in_a_row: u32,
}

/// What is to be done about a batch that cannot be applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Read it again: in smaller batches, or with its one event parked.
    Again,
    /// It is hardly the fault of the events: wait.
    Wait,
}

impl Care {
    pub fn new(most: usize) -> Self {
        Self { limit: Arc::new(AtomicUsize::new(most)), most, unfit: BTreeMap::new(), in_a_row: 0 }
    }

    /// Most records of a batch now.
    pub fn most(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub fn limit(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.limit)
    }

    /// A batch of these events, of which `last` is the last one, cannot be applied.
    pub fn failed(&mut self, events: usize, last: Option<Place>, cause: Cause) -> Advice {
        let Some(last) = last else { return Advice::Wait };
        if events > 1 {
            self.limit.store((self.limit.load(Ordering::Relaxed).min(events) / 2).max(1), Ordering::Relaxed);
            return Advice::Again;
        }
        self.in_a_row += 1;
        if self.in_a_row > IN_A_ROW_MAX {
            // Those that are not parked yet are as innocent.
            self.unfit.clear();
            return Advice::Wait;
        }
        self.unfit.insert(last, cause);
        Advice::Again
    }

    /// A batch with so many events was applied, in which these were parked.
    pub fn applied(&mut self, events: usize, parked: impl Iterator<Item = Place>) {
        for place in parked {
            self.unfit.remove(&place);
        }
        if events > 0 {
            self.in_a_row = 0;
        }
        let limit = self.limit.load(Ordering::Relaxed);
        if limit < self.most {
            self.limit.store((limit * 2).min(self.most), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use eventlog::Partition;
    use schemas::topics::ORDER;

    use super::*;

    fn place(offset: u64) -> Place {
        (Partition { topic: &ORDER, number: 0 }, offset)
    }

    fn refused() -> Cause {
        Cause::Refused { detail: "x".into() }
    }

    #[test]
    fn a_batch_is_halved_until_its_event_is_alone() {
        let mut care = Care::new(2_000);
        for (events, limit) in [(2_000, 1_000), (900, 450), (3, 1)] {
            assert_eq!(care.failed(events, Some(place(9)), refused()), Advice::Again);
            assert_eq!(care.limit.load(Ordering::Relaxed), limit);
        }
        assert!(care.unfit.is_empty());
        assert_eq!(care.failed(1, Some(place(7)), refused()), Advice::Again);
        assert_eq!(care.unfit.keys().copied().collect::<Vec<_>>(), [place(7)]);
        care.applied(0, [place(7)].into_iter());
        assert!(care.unfit.is_empty());
        (0..11).for_each(|_| care.applied(1, std::iter::empty()));
        assert_eq!(care.limit.load(Ordering::Relaxed), 2_000);
    }

    #[test]
    fn a_store_that_refuses_everything_is_waited_for() {
        let mut care = Care::new(10);
        for offset in 0..u64::from(IN_A_ROW_MAX) {
            assert_eq!(care.failed(1, Some(place(offset)), refused()), Advice::Again);
            care.applied(0, [place(offset)].into_iter());
        }
        assert_eq!(care.failed(1, Some(place(99)), refused()), Advice::Wait);
        assert!(care.unfit.is_empty());
        care.applied(1, std::iter::empty());
        assert_eq!(care.failed(1, Some(place(99)), refused()), Advice::Again);
    }
}
