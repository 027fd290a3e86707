//! Which request a command id stands for, across all aggregates of this node.
//!
//! Each owner remembers the ids of its own partition for the whole horizon. A key that comes back with another request
//! usually meets another partition, so the first use of each id is also remembered here, before it is sent. Of what came
//! before the process began the state store tells, as soon as the partitions that this node had are restored: until then
//! nothing is decided.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventlog::Partition;
use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

/// How many ids are remembered beside the state store: far more than are ever between sending and being in the store.
const RECENT_MAX: NonZeroUsize = NonZeroUsize::new(131_072).expect("it is not 0");

/// How long the first partitions of a process may hold up each other's commands: one whose log is away would stop the whole
/// node. A restore takes a fraction of it (ARCHITECTURE.md).
const COMPLETE_WITHIN: Duration = Duration::from_secs(30);

/// First uses of command ids.
pub struct Ledger {
    recent: Mutex<LruCache<Uuid, u128>>,
    /// Nothing before the first assignment.
    missing: Mutex<Option<Missing>>,
    complete: AtomicBool,
}

/// What this node was assigned first and has not restored yet.
struct Missing {
    partitions: BTreeSet<Partition>,
    since: Instant,
}

impl Default for Ledger {
    fn default() -> Self {
        let recent = Mutex::new(LruCache::new(RECENT_MAX));
        Self { recent, missing: Mutex::default(), complete: AtomicBool::new(false) }
    }
}

impl Ledger {
    /// Notes that `command_id` stands for the request with this digest; false when it stands for another one.
    #[must_use]
    pub fn note(&self, command_id: Uuid, fingerprint: u128) -> bool {
        *self.recent.lock().get_or_insert(command_id, || fingerprint) == fingerprint
    }

    /// Notes what this node was assigned. What comes later than the first assignment came from other nodes, and holds up
    /// nobody.
    pub(crate) fn assigned(&self, partitions: &[Partition]) {
        let missing = || Missing { partitions: partitions.iter().copied().collect(), since: Instant::now() };
        self.missing.lock().get_or_insert_with(missing);
    }

    /// Notes that these partitions are restored, or no longer this node's.
    pub(crate) fn settled(&self, partitions: &[Partition]) {
        if self.complete.load(Ordering::Relaxed) {
            return;
        }
        if let Some(missing) = self.missing.lock().as_mut() {
            missing.partitions.retain(|partition| !partitions.contains(partition));
        }
    }

    /// Whether ids of before the process began are known, too, or were waited for long enough.
    pub(crate) fn is_complete(&self) -> bool {
        if self.complete.load(Ordering::Relaxed) {
            return true;
        }
        let is_over = |missing: &Missing| missing.partitions.is_empty() || missing.since.elapsed() > COMPLETE_WITHIN;
        let complete = self.missing.lock().as_ref().is_some_and(is_over);
        if complete {
            self.complete.store(true, Ordering::Relaxed);
        }
        complete
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

    #[tokio::test(start_paused = true)]
    async fn it_is_complete_when_what_was_assigned_first_is_restored_or_takes_too_long() {
        let partition = |number| Partition { topic: &schemas::topics::ORDER, number };
        let (ledger, stuck) = (Ledger::default(), Ledger::default());
        assert!(!ledger.is_complete());
        for ledger in [&ledger, &stuck] {
            ledger.assigned(&[partition(0), partition(1), partition(2)]);
            ledger.settled(&[partition(1)]);
            ledger.settled(&[partition(2)]);
            ledger.assigned(&[partition(3)]);
            assert!(!ledger.is_complete());
        }
        ledger.settled(&[partition(0)]);
        assert!(ledger.is_complete());
        tokio::time::advance(COMPLETE_WITHIN).await;
        assert!(!stuck.is_complete());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(stuck.is_complete());
    }
}
