//! What an owner holds in memory of its partition: states that it works with, and the confirmed records that the state
//! store does not have yet.

use std::num::NonZeroUsize;

use bytes::Bytes;
use eventlog::Admitted;
use foldhash::{HashMap, HashMapExt};
use lru::LruCache;
use schemas::Codec;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Aggregate;
use crate::states::{Folded, Outcome, Slot, States, StoreError};

/// Clean states kept in memory per partition.
const CACHED_STATES_MAX: NonZeroUsize = NonZeroUsize::new(8_192).expect("it is not 0");

pub(crate) struct WorkingSet<A: Aggregate> {
    states: States<A>,
    /// Confirmed, not in the store yet.
    unfolded: Vec<Admitted>,
    /// Where in `unfolded`, by command id.
    unfolded_ids: HashMap<Uuid, usize>,
    unfolded_since: Option<Instant>,
    /// States with records that are not folded into the store yet.
    hot: HashMap<Bytes, Held<A>>,
    /// States as the store has them.
    clean: LruCache<Bytes, Slot<A>>,
}

/// A state in use.
pub(crate) struct Held<A> {
    /// Tentative: with the records that are not confirmed yet.
    pub slot: Slot<A>,
    /// Sequence number of its latest record; 0 where the store has all of them.
    pub last: u64,
}

impl<A: Aggregate> WorkingSet<A> {
    pub fn new(states: States<A>) -> Self {
        Self {
            states,
            unfolded: Vec::new(),
            unfolded_ids: HashMap::new(),
            unfolded_since: None,
            hot: HashMap::new(),
            clean: LruCache::new(CACHED_STATES_MAX),
        }
    }

    /// Takes a state out, to be put back with [`Self::put`].
    pub fn take(&mut self, key: &Bytes) -> Result<Held<A>, StoreError> {
        if let Some(held) = self.hot.remove(key) {
            return Ok(held);
        }
        let slot = match self.clean.pop(key) {
            Some(slot) => slot,
            None => self.states.load(key)?,
        };
        Ok(Held { slot, last: 0 })
    }

    pub fn put(&mut self, key: Bytes, held: Held<A>) {
        if held.last > 0 {
            self.hot.insert(key, held);
        } else {
            self.clean.put(key, held.slot);
        }
    }

    /// A confirmed record of a command that is not in the store yet.
    pub fn recent(&self, command_id: Uuid) -> Option<&Admitted> {
        self.unfolded_ids.get(&command_id).and_then(|at| self.unfolded.get(*at))
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
        self.unfolded_ids.insert(record.envelope.id, self.unfolded.len());
        self.unfolded.push(record);
    }

    /// How many records wait for the store …
    pub fn unfolded(&self) -> usize {
        self.unfolded.len()
    }

    /// … since when …
    pub fn oldest_unfolded(&self) -> Option<Instant> {
        self.unfolded_since
    }

    /// … and the last of them.
    pub fn last(&self) -> Option<&Admitted> {
        self.unfolded.last()
    }

    /// Folds into the store what waits for it, up to `confirmed`.
    pub fn fold(&mut self, codec: &Codec, confirmed: Folded) -> Result<(), StoreError> {
        self.unfolded_since = None;
        if self.unfolded.is_empty() {
            return Ok(());
        }
        let is_settled = |held: &Held<A>| held.last <= confirmed.checkpoint.terms.sequence;
        // With nothing outstanding, an aggregate's tentative state is what its records fold to.
        let known = |key: &Bytes| self.hot.get(key).filter(|held| is_settled(held)).map(|held| &held.slot);
        self.states.fold(codec, &self.unfolded, confirmed, known)?;
        self.unfolded_ids.clear();
        for record in self.unfolded.drain(..) {
            let key = record.record.key;
            if self.hot.get(&key).is_some_and(is_settled)
                && let Some(Held { slot, .. }) = self.hot.remove(&key)
            {
                self.clean.put(key, slot);
            }
        }
        Ok(())
    }
}
