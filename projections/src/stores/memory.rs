//! Rows in memory: the reference for every other store, and the home of views where nothing is installed. It starts
//! empty, so its views are rebuilt from the log at each start.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::store::{Checkpoints, Commit, Snapshot, Store, StoreError};
use crate::view::View;

/// A view that can live in memory.
pub trait MemoryView: View {
    /// By which rows are found other than by key, in the order in which they are listed. `()` where they are not.
    type Index: Ord + Clone + Send + Sync + 'static;

    /// Where the row stands in that order; no two rows in one place.
    fn index(&self) -> Option<Self::Index>;
}

/// The rows of one view.
pub struct MemoryStore<V: MemoryView>(Arc<RwLock<Content<V>>>);

struct Content<V: MemoryView> {
    rows: BTreeMap<V::Key, V>,
    index: BTreeMap<V::Index, V::Key>,
    checkpoints: Checkpoints,
}

impl<V: MemoryView> Default for MemoryStore<V> {
    fn default() -> Self {
        let content = Content { rows: BTreeMap::new(), index: BTreeMap::new(), checkpoints: BTreeMap::new() };
        Self(Arc::new(RwLock::new(content)))
    }
}

impl<V: MemoryView> Clone for MemoryStore<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: MemoryView> MemoryStore<V> {
    /// The first `limit` rows of `from..=to` by index.
    #[must_use]
    pub fn range(&self, from: Bound<V::Index>, to: Bound<V::Index>, limit: usize) -> Vec<V> {
        let content = self.0.read();
        let keys = content.index.range((from, to)).take(limit).map(|(_, key)| key);
        keys.filter_map(|key| content.rows.get(key).cloned()).collect()
    }
}

impl<V: MemoryView> Content<V> {
    fn remove(&mut self, key: &V::Key) {
        if let Some(index) = self.rows.remove(key).and_then(|row| row.index()) {
            self.index.remove(&index);
        }
    }

    fn insert(&mut self, row: V) {
        let key = row.key();
        self.remove(&key);
        if let Some(index) = row.index() {
            self.index.insert(index, key.clone());
        }
        self.rows.insert(key, row);
    }
}

impl<V: MemoryView> Store<V> for MemoryStore<V> {
    async fn open(&self) -> Result<Checkpoints, StoreError> {
        Ok(self.0.read().checkpoints.clone())
    }

    async fn load(&self, keys: &[V::Key]) -> Result<Vec<V>, StoreError> {
        let content = self.0.read();
        Ok(keys.iter().filter_map(|key| content.rows.get(key).cloned()).collect())
    }

    async fn commit(&self, commit: Commit<V>) -> Result<(), StoreError> {
        let mut content = self.0.write();
        let stands = |partition| content.checkpoints.get(&partition).map_or(0, |checkpoint| checkpoint.next);
        if commit.moves.iter().any(|step| stands(step.partition) != step.expected) {
            return Err(StoreError::CheckpointMoved { view: V::NAME });
        }
        commit.deletes.iter().for_each(|key| content.remove(key));
        commit.upserts.into_iter().for_each(|row| content.insert(row));
        content.checkpoints.extend(commit.moves.iter().map(|step| (step.partition, step.to)));
        Ok(())
    }

    async fn snapshot(&self) -> Result<Snapshot<V>, StoreError> {
        let content = self.0.read();
        Ok(Snapshot { rows: content.rows.clone(), checkpoints: content.checkpoints.clone() })
    }
}
