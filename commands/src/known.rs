//! Which keys the state store may have. Most commands are new, and most of them found a new aggregate: both look-ups find
//! nothing, and walking the memtables for nothing was 5 % of a command's CPU (ARCHITECTURE.md). A Bloom filter (Bloom
//! 1970) in front says so at once. It is made anew at each start, behind everybody's back; until then it rules nothing out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use fastbloom::AtomicBloomFilter;
use fjall::Keyspace;
use foldhash::fast::RandomState;

/// It has room for twice what the store has at the start, and for so many keys at least. Past that it only rules less out.
const KEYS_MIN: usize = 4 << 20;
/// One key in 50 that is not there is looked up all the same.
const BITS_PER_KEY: usize = 8;

/// The filter over some keyspaces.
pub(crate) struct Known {
    filter: Arc<Filter>,
    reader: Option<JoinHandle<()>>,
}

struct Filter {
    keys: AtomicBloomFilter<RandomState>,
    /// It has every key that was there at the start.
    complete: AtomicBool,
    cancelled: AtomicBool,
}

impl Known {
    /// Begins to read the keys that are there, on a thread of its own.
    pub fn of(keyspaces: Vec<Keyspace>) -> std::io::Result<Self> {
        let there: usize = keyspaces.iter().map(Keyspace::approximate_len).sum();
        let room = KEYS_MIN.max(there.saturating_mul(2));
        let keys = AtomicBloomFilter::with_num_bits(room.saturating_mul(BITS_PER_KEY));
        let keys = keys.hasher(RandomState::default()).expected_items(room);
        let filter = Arc::new(Filter { keys, complete: AtomicBool::new(false), cancelled: AtomicBool::new(false) });
        let read = {
            let filter = Arc::clone(&filter);
            move || filter.read(&keyspaces)
        };
        let reader = std::thread::Builder::new().name("known-keys".into()).spawn(read)?;
        Ok(Self { filter, reader: Some(reader) })
    }

    /// The store is about to have this key.
    pub fn insert(&self, key: &[u8]) {
        self.filter.keys.insert(key);
    }

    /// False where the store certainly does not have this key.
    pub fn may_have(&self, key: &[u8]) -> bool {
        !self.filter.complete.load(Ordering::Acquire) || self.filter.keys.contains(key)
    }
}

impl Filter {
    fn read(&self, keyspaces: &[Keyspace]) {
        for entry in keyspaces.iter().flat_map(Keyspace::iter) {
            if self.cancelled.load(Ordering::Relaxed) {
                return;
            }
            match entry.key() {
                Ok(key) => drop(self.keys.insert(&*key)),
                Err(error) => {
                    // Whoever asks for what lies there meets the error, too.
                    let error = &error as &dyn std::error::Error;
                    return tracing::error!(
                        error,
                        "reading the state store's keys failed: every look-up walks the store"
                    );
                }
            }
        }
        self.complete.store(true, Ordering::Release);
    }
}

/// The reader holds the store open, so it ends first.
impl Drop for Known {
    fn drop(&mut self) {
        self.filter.cancelled.store(true, Ordering::Relaxed);
        if self.reader.take().is_some_and(|reader| reader.join().is_err()) {
            tracing::error!("the reader of known keys panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use fjall::{Database, KeyspaceCreateOptions};

    use super::*;

    #[test]
    fn what_is_there_is_never_ruled_out_and_most_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let db = Database::builder(directory.path()).open().unwrap();
        let keyspaces = ["a", "b"].map(|name| db.keyspace(name, KeyspaceCreateOptions::default).unwrap());
        let key = |number: u32| number.to_be_bytes();
        for number in 0..2_000 {
            keyspaces[number as usize % 2].insert(key(number), "").unwrap();
        }
        let mut known = Known::of(keyspaces.to_vec()).unwrap();
        (2_000..3_000).for_each(|number| known.insert(&key(number)));
        assert!((0..3_000).all(|number| known.may_have(&key(number))), "complete or not");
        known.reader.take().unwrap().join().unwrap();
        assert!((0..3_000).all(|number| known.may_have(&key(number))));
        let wrong = (3_000..4_000).filter(|number| known.may_have(&key(*number))).count();
        assert!(wrong < 50, "{wrong} of 1,000 are not ruled out");
    }
}
