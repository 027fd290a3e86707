//! Which request a command id stands for, across all aggregates of this node.
//!
//! Each owner remembers the ids of its own partition for the whole horizon. A key that comes back with another request
//! usually meets another partition, so the first use of each id is also remembered here, before it is sent.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;
use uuid::Uuid;

/// How many ids are remembered beside the state store: far more than are ever between sending and being in the store.
const RECENT_MAX: NonZeroUsize = NonZeroUsize::new(131_072).expect("it is not 0");

/// First uses of command ids.
pub struct Ledger {
    recent: Mutex<LruCache<Uuid, u128>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { recent: Mutex::new(LruCache::new(RECENT_MAX)) }
    }
}

impl Ledger {
    /// Notes that `command_id` stands for the request with this digest; false when it stands for another one.
    #[must_use]
    pub fn note(&self, command_id: Uuid, fingerprint: u128) -> bool {
        *self.recent.lock().get_or_insert(command_id, || fingerprint) == fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stands_for_one_request() {
        let ledger = Ledger::default();
        assert!(ledger.note(Uuid::from_u128(1), 7));
        assert!(ledger.note(Uuid::from_u128(1), 7));
        assert!(!ledger.note(Uuid::from_u128(1), 8));
        assert!(ledger.note(Uuid::from_u128(2), 8));
    }
}
