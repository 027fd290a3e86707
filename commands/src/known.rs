//! Which keys the state store may have. Most commands are new, and most of them found a new aggregate: both look-ups find
//! nothing, and walking the memtables for nothing was 5 % of a command's CPU (ARCHITECTURE.md). A Bloom filter (Bloom
//! 1970) in front says so at once. It is made at each start, behind everybody's back, and anew when it is full; until the
//! first is made nothing is ruled out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use fastbloom::AtomicBloomFilter;
use fjall::Keyspace;
use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

/// A filter has room for twice what the store has when it is begun, and for so many keys at least.
pub(crate) const KEYS_MIN: usize = 4 << 20;
/// One key in 50 that is not there is looked up all the same.
const BITS_PER_KEY: usize = 8;

/// The filter over some keyspaces.
pub(crate) struct Known {
    keyspaces: Vec<Keyspace>,
    keys_min: usize,
    filters: Arc<RwLock<Filters>>,
    cancelled: Arc<AtomicBool>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Filters {
    /// It has every key of the store, and keys that were removed.
    current: Option<Arc<Filter>>,
    /// It is being made.
    next: Option<Arc<Filter>>,
}

struct Filter {
    keys: AtomicBloomFilter<RandomState>,
    room: usize,
    count: AtomicUsize,
}

/// A change of the store, begun and not committed yet: a filter that is begun later finds its keys in the store.
pub(crate) struct Change<'k>(RwLockReadGuard<'k, Filters>);

impl Known {
    /// Begins to read the keys that are there, on a thread of its own.
    pub fn of(keyspaces: Vec<Keyspace>, keys_min: usize) -> std::io::Result<Self> {
        let (filters, cancelled, reader) = (Arc::default(), Arc::default(), Mutex::default());
        let known = Self { keyspaces, keys_min, filters, cancelled, reader };
        known.renew()?;
        Ok(known)
    }

    /// Until it is dropped, which must be after its keys are committed, no filter is begun.
    pub fn change(&self) -> Change<'_> {
        Change(self.filters.read_recursive())
    }

    /// False where the store certainly does not have this key.
    pub fn may_have(&self, key: &[u8]) -> bool {
        // Also asked in the midst of a change.
        self.filters.read_recursive().current.as_ref().is_none_or(|filter| filter.keys.contains(key))
    }

    /// Begins another filter when the present one is full. Waits until nobody is in the midst of a change.
    pub fn committed(&self) {
        let is_full = |filters: &Filters| filters.current.as_ref().is_some_and(|filter| filter.is_full());
        let wanted = {
            let filters = self.filters.read();
            filters.next.is_none() && is_full(&filters)
        };
        if wanted && let Err(error) = self.renew() {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "no thread to read the state store's keys: look-ups walk the store more often");
        }
    }

    fn renew(&self) -> std::io::Result<()> {
        let mut reader = self.reader.lock();
        let mut filters = self.filters.write();
        if filters.next.is_some() {
            return Ok(());
        }
        let there: usize = self.keyspaces.iter().map(Keyspace::approximate_len).sum();
        let next = Arc::new(Filter::with_room(self.keys_min.max(there.saturating_mul(2))));
        let (keyspaces, cancelled) = (self.keyspaces.clone(), Arc::clone(&self.cancelled));
        let (filter, all) = (Arc::clone(&next), Arc::clone(&self.filters));
        let read = move || {
            if filter.read(&keyspaces, &cancelled) {
                let mut filters = all.write();
                filters.current = filters.next.take();
            }
        };
        *reader = Some(std::thread::Builder::new().name("known-keys".into()).spawn(read)?);
        filters.next = Some(next);
        Ok(())
    }
}

impl Change<'_> {
    /// The store is about to have this key.
    pub fn insert(&self, key: &[u8]) {
        self.0.current.iter().chain(&self.0.next).for_each(|filter| filter.insert(key));
    }
}

impl Filter {
    fn with_room(room: usize) -> Self {
        let keys = AtomicBloomFilter::with_num_bits(room.saturating_mul(BITS_PER_KEY));
        let keys = keys.hasher(RandomState::default()).expected_items(room);
        Self { keys, room, count: AtomicUsize::new(0) }
    }

    fn insert(&self, key: &[u8]) {
        if !self.keys.insert(key) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_full(&self) -> bool {
        self.count.load(Ordering::Relaxed) > self.room
    }

    /// Whether it has all of them now. If not, it stays as it is: whoever asks for what cannot be read meets the error, too.
    fn read(&self, keyspaces: &[Keyspace], cancelled: &AtomicBool) -> bool {
        for entry in keyspaces.iter().flat_map(Keyspace::iter) {
            if cancelled.load(Ordering::Relaxed) {
                return false;
            }
            match entry.key() {
                Ok(key) => self.insert(&key),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "reading the state store's keys failed: look-ups walk the store more often");
                    return false;
                }
            }
        }
        true
    }
}

/// The reader holds the store open, so it ends first.
impl Drop for Known {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        if self.reader.lock().take().is_some_and(|reader| reader.join().is_err()) {
            tracing::error!("the reader of known keys panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use fjall::{Database, KeyspaceCreateOptions};

    use super::*;

    #[test]
    fn what_is_there_is_never_ruled_out_and_most_else_is_also_when_it_grows() {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::builder(directory.path()).open().unwrap();
        let keyspaces = ["a", "b"].map(|name| db.keyspace(name, KeyspaceCreateOptions::default).unwrap());
        let key = |number: u32| number.to_be_bytes();
        let write = |number: u32| keyspaces[number as usize % 2].insert(key(number), "").unwrap();
        (0..2_000).for_each(write);
        let known = Known::of(keyspaces.to_vec(), 100).unwrap();
        let await_reader = || known.reader.lock().take().unwrap().join().unwrap();
        let holds = |until: u32| {
            assert!((0..until).all(|number| known.may_have(&key(number))), "one of the first {until} is ruled out");
        };
        let add = |numbers: std::ops::Range<u32>| {
            for number in numbers {
                let change = known.change();
                change.insert(&key(number));
                write(number);
                drop(change);
                known.committed();
            }
        };
        add(2_000..3_000);
        holds(3_000);
        await_reader();
        holds(3_000);
        // It had room for 4,000.
        add(3_000..20_000);
        holds(20_000);
        await_reader();
        holds(20_000);
        assert!(known.filters.read().next.is_none(), "the last one is complete");
        let wrong = (20_000..30_000).filter(|number| known.may_have(&key(*number))).count();
        assert!(wrong < 500, "{wrong} of 10,000 are not ruled out");
    }
}
