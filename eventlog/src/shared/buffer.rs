//! The latest records of a log, and who has taken which of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use crate::{Partition, Stored};

/// Offsets of next records.
pub(super) type Positions = BTreeMap<Partition, u64>;

/// The last record of each partition.
pub(super) type Lasts = BTreeMap<Partition, Arc<Stored>>;

/// The latest records, and who follows them.
#[derive(Default)]
pub(super) struct Buffer {
    /// In the order in which they were read.
    records: VecDeque<Arc<Stored>>,
    /// How many records came before these.
    passed: u64,
    bytes: usize,
    /// From here on every record is in `records` or still to come.
    from: Positions,
    /// Where the pump reads on.
    pub(super) next: Positions,
    /// The record before that, where any was read.
    pub(super) last: Lasts,
    /// Which record each follower takes next, counted like `passed`.
    pub(super) cursors: HashMap<u64, u64>,
    followers_ever: u64,
    /// Changes when everything above starts anew.
    epoch: u64,
    pub(super) running: bool,
}

/// Who follows the buffer.
pub(super) struct Place {
    pub(super) follower: u64,
    epoch: u64,
}

/// What a follower finds.
pub(super) enum Taken {
    Records(Vec<Arc<Stored>>),
    /// The buffer went on without it.
    Behind,
    /// Nobody fills the buffer any more.
    Ended,
}

impl Buffer {
    /// Whether all these partitions are followed already.
    pub(super) fn knows(&self, positions: &Positions) -> bool {
        positions.keys().all(|partition| self.next.contains_key(partition))
    }

    /// A place for a reader at `positions`, which has read `lasts` before, unless what it needs next is gone or not reached yet.
    /// Partitions that nobody follows yet are followed from now on.
    pub(super) fn seat(&mut self, positions: &Positions, lasts: &Lasts) -> Option<Place> {
        for (partition, position) in positions {
            if let (Some(from), Some(next)) = (self.from.get(partition), self.next.get(partition))
                && !(from..=next).contains(&position)
            {
                return None;
            }
        }
        for (partition, position) in positions {
            if !self.next.contains_key(partition) {
                self.from.insert(*partition, *position);
                self.next.insert(*partition, *position);
                self.last.extend(lasts.get(partition).map(|last| (*partition, Arc::clone(last))));
            }
        }
        self.followers_ever += 1;
        self.cursors.insert(self.followers_ever, self.passed);
        Some(Place { follower: self.followers_ever, epoch: self.epoch })
    }

    pub(super) fn push(&mut self, batch: Vec<Stored>) {
        for stored in batch {
            self.bytes += weight(&stored);
            let (partition, offset, stored) = (stored.partition, stored.offset, Arc::new(stored));
            self.next.insert(partition, offset + 1);
            self.last.insert(partition, Arc::clone(&stored));
            self.records.push_back(stored);
        }
    }

    /// Forgets the oldest records, until `budget` bytes are left. A follower that has not taken them loses its place.
    pub(super) fn shrink(&mut self, budget: usize) {
        while self.bytes > budget
            && let Some(oldest) = self.records.pop_front()
        {
            self.bytes -= weight(&oldest);
            self.passed += 1;
            self.from.insert(oldest.partition, oldest.offset + 1);
        }
        let passed = self.passed;
        self.cursors.retain(|_, cursor| *cursor >= passed);
    }

    /// Drops everything; who follows finds its place gone.
    pub(super) fn clear(&mut self) {
        let (epoch, followers_ever, running) = (self.epoch + 1, self.followers_ever, self.running);
        *self = Self { epoch, followers_ever, running, ..Self::default() };
    }

    /// At most `max` of the records that a reader at `positions` has not seen.
    pub(super) fn take(&mut self, place: &Place, positions: &Positions, max: usize) -> Taken {
        if place.epoch != self.epoch {
            return Taken::Ended;
        }
        let Some(cursor) = self.cursors.get_mut(&place.follower) else { return Taken::Behind };
        let seen = usize::try_from(*cursor - self.passed).unwrap_or(usize::MAX);
        let mut records = Vec::new();
        for stored in self.records.iter().skip(seen) {
            if records.len() == max {
                break;
            }
            *cursor += 1;
            if positions.get(&stored.partition).is_some_and(|next| stored.offset >= *next) {
                records.push(Arc::clone(stored));
            }
        }
        Taken::Records(records)
    }
}

pub(super) fn weight(stored: &Stored) -> usize {
    let headers: usize = stored.record.headers.iter().map(|(_, value)| value.len()).sum();
    stored.record.key.len() + stored.record.payload.len() + headers + size_of::<Stored>()
}
