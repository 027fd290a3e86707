//! How much memory the states of a node may take, and how it is shared: evenly among the partitions that run there now.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Store;

pub(crate) struct Budget {
    bytes: usize,
    sharers: AtomicUsize,
}

impl Budget {
    pub fn new(bytes: usize) -> Self {
        Self { bytes, sharers: AtomicUsize::new(0) }
    }
}

/// What one partition may use; given back when dropped.
pub(crate) struct Share(Arc<Store>);

impl Share {
    pub fn of(store: &Arc<Store>) -> Self {
        store.memory.sharers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(store))
    }

    /// How much that is now. It becomes less when another partition comes, so it is asked for anew each time.
    pub fn bytes(&self) -> usize {
        self.0.memory.bytes / self.0.memory.sharers.load(Ordering::Relaxed).max(1)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.memory.sharers.fetch_sub(1, Ordering::Relaxed);
    }
}
