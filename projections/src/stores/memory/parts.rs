//! A hash map in parts.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt};

/// How many: of a million rows one part has some 4,000.
const PARTS: usize = 256;

/// Growing moves one part at a time: a map of a million rows that doubles keeps everybody waiting for a tenth of a second.
pub(super) struct Parts<K, T> {
    choice: RandomState,
    parts: Box<[HashMap<K, T>]>,
}

impl<K, T> Default for Parts<K, T> {
    fn default() -> Self {
        Self { choice: RandomState::default(), parts: (0..PARTS).map(|_| HashMap::new()).collect() }
    }
}

impl<K: Hash, T> Parts<K, T> {
    /// The part that has `key`, if any has.
    pub fn of<Q: Hash + ?Sized>(&self, key: &Q) -> &HashMap<K, T> {
        &self.parts[self.place(key)]
    }

    /// The same, to change it.
    pub fn of_mut<Q: Hash + ?Sized>(&mut self, key: &Q) -> &mut HashMap<K, T> {
        let place = self.place(key);
        &mut self.parts[place]
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &T)> {
        self.parts.iter().flatten()
    }

    #[allow(clippy::cast_possible_truncation, reason = "only the lowest bits count")]
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        self.choice.hash_one(key) as usize % PARTS
    }
}
