//! What an owner holds in memory of its partition: states that it works with, and the confirmed records that the state
//! store does not have yet.

use bytes::Bytes;
use eventlog::Admitted;
use foldhash::{HashMap, HashMapExt};
use lru::LruCache;
use schemas::Codec;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Aggregate;
use crate::states::{Folded, Outcome, Share, Slot, States, StoreError, Writing};

/// What a state in [`Clean`] needs beside itself: its place in two lists and a table, and its key.
const ENTRY_BYTES: usize = 160;

/// How many times as long as it took to begin a fold the next one waits: a state is written whole, and a large one (a SKU with a
/// hundred thousand open reservations) would keep the lane busy with nothing else.
const RESTS: u32 = 19;

pub(crate) struct WorkingSet<A: Aggregate> {
    states: States<A>,
    /// Confirmed, not known to be in the store yet.
    unfolded: Vec<Admitted>,
    /// How many came before the first of these.
    folded: usize,
    /// Which of all that were confirmed, by command id.
    unfolded_ids: HashMap<Uuid, usize>,
    /// Since when any of them waits that is not being written.
    unfolded_since: Option<Instant>,
    /// The fold of the first of them, on its way into the store.
    fold: Option<Fold>,
    /// When the next one may begin.
    rests_until: Instant,
    /// States with records that are not folded into the store yet.
    hot: HashMap<Bytes, Held<A>>,
    clean: Clean<A>,
}

/// A fold that is being written.
struct Fold {
    writing: Writing,
    /// How many records it has.
    records: usize,
    confirmed: Folded,
    /// What the store will have of each state, in bytes.
    sizes: HashMap<Bytes, usize>,
}

/// States as the store has them, as many as there is memory for: those that were in use last.
struct Clean<A> {
    /// With how many bytes the store has of each.
    states: LruCache<Bytes, (Slot<A>, usize)>,
    bytes: usize,
    share: Share,
}

/// A state in use.
pub(crate) struct Held<A> {
    /// Tentative: with the records that are not confirmed yet.
    pub slot: Slot<A>,
    /// Sequence number of its latest record; 0 where the store has all of them.
    pub last: u64,
    /// How many bytes the store has of it.
    pub stored: usize,
}

impl<A> Clean<A> {
    fn new(share: Share) -> Self {
        Self { states: LruCache::unbounded(), bytes: 0, share }
    }

    fn take(&mut self, key: &Bytes) -> Option<Held<A>> {
        let (slot, stored) = self.states.pop(key)?;
        self.bytes -= Self::bytes(stored);
        Some(Held { slot, last: 0, stored })
    }

    fn put(&mut self, key: Bytes, held: Held<A>) {
        self.bytes += Self::bytes(held.stored);
        if let Some((_, former)) = self.states.put(key, (held.slot, held.stored)) {
            self.bytes -= Self::bytes(former);
        }
        while self.bytes > self.share.bytes()
            && let Some((_, (_, stored))) = self.states.pop_lru()
        {
            self.bytes -= Self::bytes(stored);
        }
    }

    /// What a state takes here of which the store has `stored` bytes: its strings and lists have places of their own, and so
    /// take about twice as much.
    fn bytes(stored: usize) -> usize {
        size_of::<Slot<A>>() + ENTRY_BYTES + 2 * stored
    }
}

impl<A: Aggregate> WorkingSet<A> {
    pub fn new(states: States<A>) -> Self {
        let clean = Clean::new(states.share());
        Self {
            states,
            unfolded: Vec::new(),
            folded: 0,
            unfolded_ids: HashMap::new(),
            unfolded_since: None,
            fold: None,
            rests_until: Instant::now(),
            hot: HashMap::new(),
            clean,
        }
    }

    /// Takes a state out, to be put back with [`Self::put`].
    pub fn take(&mut self, key: &Bytes) -> Result<Held<A>, StoreError> {
        if let Some(held) = self.hot.remove(key) {
            return Ok(held);
        }
        if let Some(held) = self.clean.take(key) {
            return Ok(held);
        }
        let (slot, stored) = self.states.load(key)?;
        Ok(Held { slot, last: 0, stored })
    }

    pub fn put(&mut self, key: Bytes, held: Held<A>) {
        if held.last > 0 {
            self.hot.insert(key, held);
        } else {
            self.clean.put(key, held);
        }
    }

    /// A confirmed record of a command that is not in the store yet.
    pub fn recent(&self, command_id: Uuid) -> Option<&Admitted> {
        self.unfolded_ids.get(&command_id).and_then(|at| self.unfolded.get(at - self.folded))
    }

    /// What became of a command that was confirmed: here, or as far as the store knows.
    pub fn outcome(&self, command_id: Uuid) -> Result<Option<Outcome>, StoreError> {
        match self.recent(command_id) {
            Some(record) => Ok(Some(Outcome::of(record))),
            None => self.states.outcome(command_id),
        }
    }

    /// The next record is confirmed.
    pub fn confirm(&mut self, record: Admitted) {
        self.unfolded_since.get_or_insert_with(Instant::now);
        self.unfolded_ids.insert(record.envelope.id, self.folded + self.unfolded.len());
        self.unfolded.push(record);
    }

    /// How many records wait for the store and are not being written …
    pub fn waiting(&self) -> usize {
        self.unfolded.len() - self.fold.as_ref().map_or(0, |fold| fold.records)
    }

    /// … since when …
    pub fn waiting_since(&self) -> Option<Instant> {
        self.unfolded_since
    }

    /// … and the last of all that are not known to be in the store.
    pub fn last(&self) -> Option<&Admitted> {
        self.unfolded.last()
    }

    /// A fold is being written.
    pub fn is_folding(&self) -> bool {
        self.fold.is_some()
    }

    /// Whether a fold may begin: none is being written, and everybody had the lane long enough since the last one.
    pub fn may_fold(&self) -> bool {
        !self.is_folding() && Instant::now() >= self.rests_until
    }

    /// Begins to fold into the store what waits for it, up to `confirmed`; one after the other.
    pub fn begin_fold(&mut self, codec: &Codec, confirmed: Folded) -> Result<(), StoreError> {
        self.await_fold()?;
        self.unfolded_since = None;
        if self.unfolded.is_empty() {
            return Ok(());
        }
        let known = |key: &Bytes| self.hot.get(key).filter(|held| held.is_settled(&confirmed)).map(|held| &held.slot);
        let begun = Instant::now();
        let (writing, sizes) = self.states.begin_fold(codec, &self.unfolded, confirmed, known)?;
        self.rests_until = Instant::now() + RESTS * begun.elapsed();
        self.fold = Some(Fold { writing, records: self.unfolded.len(), confirmed, sizes });
        self.end_fold()
    }

    /// Takes note of what came of the fold, where that is known.
    pub fn end_fold(&mut self) -> Result<(), StoreError> {
        match self.fold.as_ref().and_then(|fold| fold.writing.poll()) {
            Some(written) => self.written(written),
            None => Ok(()),
        }
    }

    /// Waits for it.
    pub fn await_fold(&mut self) -> Result<(), StoreError> {
        match self.fold.as_ref().map(|fold| fold.writing.wait()) {
            Some(written) => self.written(written),
            None => Ok(()),
        }
    }

    fn written(&mut self, written: Result<(), StoreError>) -> Result<(), StoreError> {
        let Some(Fold { records, confirmed, sizes, .. }) = self.fold.take() else { return Ok(()) };
        written?;
        self.folded += records;
        for record in self.unfolded.drain(..records) {
            self.unfolded_ids.remove(&record.envelope.id);
            let key = record.record.key;
            if self.hot.get(&key).is_some_and(|held| held.is_settled(&confirmed))
                && let Some(held) = self.hot.remove(&key)
            {
                let stored = sizes.get(&key).copied().unwrap_or(held.stored);
                self.clean.put(key, Held { last: 0, stored, ..held });
            }
        }
        Ok(())
    }
}

impl<A> Held<A> {
    /// With nothing outstanding, an aggregate's tentative state is what its records fold to.
    fn is_settled(&self, confirmed: &Folded) -> bool {
        self.last <= confirmed.checkpoint.terms.sequence
    }
}

/// Only then may another fold the partition.
impl<A: Aggregate> Drop for WorkingSet<A> {
    fn drop(&mut self) {
        if let Err(error) = self.await_fold() {
            tracing::warn!(error = &error as &dyn std::error::Error, "not folded; restoring will");
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::stock::StockItem;
    use eventlog::Partition;
    use schemas::topics::STOCK;

    use super::*;
    use crate::states::Store;

    #[test]
    fn so_many_states_are_kept_as_the_share_has_bytes_and_the_oldest_go_first() {
        let store = Store::in_memory_with(10 * Clean::<StockItem>::bytes(100));
        let states = |number| store.lease::<StockItem>(Partition { topic: &STOCK, number }).unwrap();
        let mut clean = Clean::<StockItem>::new(states(0).share());
        let key = |number: u8| Bytes::copy_from_slice(&[number]);
        let held = |stored| Held { slot: Slot::default(), last: 0, stored };
        (0..20).for_each(|number| clean.put(key(number), held(100)));
        assert!((0..20).map(|number| clean.states.contains(&key(number))).eq((0..20).map(|number| number >= 10)));
        let other = states(1).share();
        clean.put(key(19), held(100));
        assert_eq!(clean.states.len(), 5, "half is the other one's");
        drop(other);
        clean.put(key(20), held(1_000_000));
        assert!(clean.states.is_empty() && clean.bytes == 0, "it does not fit");
        clean.put(key(21), held(100));
        assert!(clean.take(&key(21)).is_some_and(|held| held.stored == 100) && clean.bytes == 0);
    }
}
