//! Generations in memory: they last as long as the process.

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::{Content, MemoryStore, MemoryView};
use crate::generations::{Generation, Generations, Notes, listed, next_number};
use crate::store::{Store, StoreError};

impl<V: MemoryView> MemoryStore<V> {
    fn listed(&self) -> Vec<Generation> {
        let shared = self.shared.read();
        let noted = shared.noted.iter().map(|(number, notes)| (*number, notes.clone())).collect();
        listed(V::GENERATION, shared.live, noted)
    }
}

impl<V: MemoryView> Generations for MemoryStore<V> {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Generation>, StoreError>> {
        ready(Ok(self.listed())).boxed()
    }

    fn create(&self, notes: Notes) -> BoxFuture<'_, Result<u32, StoreError>> {
        let number = next_number(&self.listed());
        self.shared.write().noted.insert(number, notes);
        ready(Ok(number)).boxed()
    }

    fn note(&self, number: u32, notes: Notes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.write().noted.insert(number, notes);
        ready(Ok(())).boxed()
    }

    fn promote(&self, from: u32, to: u32) -> BoxFuture<'_, Result<bool, StoreError>> {
        let (old, new) = (self.numbered(from), self.numbered(to));
        let mut shared = self.shared.write();
        let live = shared.live.unwrap_or(V::GENERATION);
        let (old, new) = (old.content.read(), new.content.read());
        let next = |content: &Content<V>, partition| content.checkpoints.get(partition).map_or(0, |c| c.next);
        let behind = old.checkpoints.keys().any(|partition| next(&new, partition) < next(&old, partition));
        let moves = live == from && !behind;
        if moves {
            shared.live = Some(to);
        }
        ready(Ok(moves)).boxed()
    }

    fn clear(&self, number: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        *self.numbered(number).content.write() = Content::default();
        ready(Ok(())).boxed()
    }
}
