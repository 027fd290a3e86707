//! Rows in memory: the reference for every other store, and the home of views where nothing is installed. It starts
//! empty, so its views are rebuilt from the log at each start.

mod generations;
mod parking;
mod parts;
mod resolutions;

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use eventlog::Partition;
use eventlog::fault::mutant;
use parking_lot::RwLock;

use self::parking::MemoryParking;
use self::parts::Parts;
use self::resolutions::Resolutions;
use crate::generations::{Generations, Notes};
use crate::parking::Parking;
use crate::store::{AsOf, Checkpoints, Commit, Kind, Reflects, Store, StoreError, Visit};
use crate::view::View;

/// A view that can live in memory.
pub trait MemoryView: View {
    /// Orders the rows of a list. `()` where there are no lists.
    type Place: Ord + Copy + Send + Sync + 'static;

    /// The list that the row stands in, other than by key, and its place there; no two rows in one place.
    fn listed(&self) -> Option<(&str, Self::Place)> {
        None
    }
}

/// The rows of one generation of a view.
pub struct MemoryStore<V: MemoryView> {
    generation: u32,
    content: Arc<RwLock<Content<V>>>,
    shared: Arc<RwLock<Shared<V>>>,
}

/// What the generations of a view have in common.
struct Shared<V: MemoryView> {
    contents: BTreeMap<u32, Arc<RwLock<Content<V>>>>,
    live: Option<u32>,
    noted: BTreeMap<u32, Notes>,
    resolutions: Resolutions,
}

struct Content<V: MemoryView> {
    /// Each row on its own, so that growing moves no rows.
    rows: Parts<V::Key, Box<V>>,
    lists: Parts<Box<str>, List<V>>,
    checkpoints: Checkpoints,
    parking: MemoryParking,
}

/// By place. New rows mostly come last.
type List<V> = Vec<(<V as MemoryView>::Place, <V as View>::Key)>;

impl<V: MemoryView> Default for Content<V> {
    fn default() -> Self {
        Self {
            rows: Parts::default(),
            lists: Parts::default(),
            checkpoints: Checkpoints::new(),
            parking: MemoryParking::default(),
        }
    }
}

impl<V: MemoryView> Default for MemoryStore<V> {
    fn default() -> Self {
        Self::with(Resolutions::default())
    }
}

impl<V: MemoryView> Clone for MemoryStore<V> {
    fn clone(&self) -> Self {
        let Self { generation, content, shared } = self;
        Self { generation: *generation, content: Arc::clone(content), shared: Arc::clone(shared) }
    }
}

impl<V: MemoryView> MemoryStore<V> {
    /// Without rows; what operators decide is kept in a file of `directory`, and read from there.
    #[must_use]
    pub fn kept_in(directory: &Path) -> Self {
        Self::with(Resolutions::kept_in(directory.join(V::NAME).with_extension("json")))
    }

    fn with(resolutions: Resolutions) -> Self {
        let content = Arc::<RwLock<Content<V>>>::default();
        let contents = BTreeMap::from([(V::GENERATION, Arc::clone(&content))]);
        let shared = Shared { contents, live: None, noted: BTreeMap::new(), resolutions };
        Self { generation: V::GENERATION, content, shared: Arc::new(RwLock::new(shared)) }
    }

    /// The row called `key`.
    pub(crate) fn look_up(&self, key: &V::Key) -> AsOf<Option<V>> {
        let (content, home) = (self.content.read(), V::home(key));
        let found = content.rows.of(key).get(key).map(|row| V::clone(row));
        AsOf { found, next: vec![(home, content.next(home))] }
    }

    /// The last `limit` rows of a list, or of its part before a place, from last to first; they all come from `partitions`.
    pub(crate) fn last(
        &self,
        partitions: &[Partition],
        list: &str,
        before: Option<V::Place>,
        limit: usize,
    ) -> AsOf<Vec<V>> {
        let content = self.content.read();
        let next = partitions.iter().map(|partition| (*partition, content.next(*partition))).collect();
        AsOf { found: content.last(list, before, limit), next }
    }
}

impl<V: MemoryView> Content<V> {
    fn next(&self, partition: Partition) -> u64 {
        self.checkpoints.get(&partition).map_or(0, |checkpoint| checkpoint.next)
    }

    fn last(&self, list: &str, before: Option<V::Place>, limit: usize) -> Vec<V> {
        let Some(list) = self.lists.of(list).get(list) else { return Vec::new() };
        let end = before.map_or(list.len(), |before| list.partition_point(|(place, _)| *place < before));
        let keys = list[..end].iter().rev().take(limit).map(|(_, key)| key);
        keys.filter_map(|key| self.rows.of(key).get(key)).map(|row| V::clone(row)).collect()
    }

    fn remove(&mut self, key: &V::Key) {
        if let Some(row) = self.rows.of_mut(key).remove(key) {
            strike(&mut self.lists, &*row);
        }
    }

    fn insert(&mut self, row: V) {
        let key = row.key();
        match self.rows.of_mut(&key).entry(key) {
            Entry::Vacant(free) => {
                enter(&mut self.lists, &row);
                free.insert(Box::new(row));
            }
            Entry::Occupied(mut held) => {
                if held.get().listed() != row.listed() {
                    strike(&mut self.lists, &**held.get());
                    enter(&mut self.lists, &row);
                }
                **held.get_mut() = row;
            }
        }
    }
}

fn enter<V: MemoryView>(lists: &mut Parts<Box<str>, List<V>>, row: &V) {
    let Some((name, place)) = row.listed() else { return };
    let entry = (place, row.key());
    let lists = lists.of_mut(name);
    match lists.get_mut(name) {
        Some(list) => list.insert(list.partition_point(|(other, _)| *other < place), entry),
        None => drop(lists.insert(name.into(), vec![entry])),
    }
}

fn strike<V: MemoryView>(lists: &mut Parts<Box<str>, List<V>>, row: &V) {
    let Some((name, place)) = row.listed() else { return };
    let lists = lists.of_mut(name);
    let Some(list) = lists.get_mut(name) else { return };
    if let Ok(at) = list.binary_search_by_key(&place, |(other, _)| *other) {
        list.remove(at);
    }
    if list.is_empty() {
        lists.remove(name);
    }
}

impl<V: MemoryView> Store<V> for MemoryStore<V> {
    fn kind(&self) -> Kind {
        Kind::Memory
    }

    async fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        Ok(self.content.read().checkpoints.clone())
    }

    async fn open(&self) -> Result<Checkpoints, StoreError> {
        self.checkpoints().await
    }

    async fn load(&self, keys: &[V::Key]) -> Result<Vec<V>, StoreError> {
        let content = self.content.read();
        Ok(keys.iter().filter_map(|key| content.rows.of(key).get(key)).map(|row| V::clone(row)).collect())
    }

    async fn commit(&self, commit: Commit<V>) -> Result<(), StoreError> {
        let mut content = self.content.write();
        let moved = commit.moves.iter().any(|step| content.next(step.partition) != step.expected);
        if (moved && !mutant("checkpoint-cas")) || !content.parking.holds(&commit.parking.done) {
            return Err(StoreError::CheckpointMoved { view: V::NAME });
        }
        commit.deletes.iter().for_each(|key| content.remove(key));
        commit.upserts.into_iter().for_each(|row| content.insert(row));
        content.parking.change(commit.parking);
        content.checkpoints.extend(commit.moves.iter().map(|step| (step.partition, step.to)));
        Ok(())
    }

    /// All of them at once: they are not in an order here.
    async fn scan(&self, after: Option<&V::Key>, _: usize, visit: Visit<'_, V>) -> Result<Reflects, StoreError> {
        let content = self.content.read();
        let wanted = content.rows.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        wanted.for_each(|(_, row)| visit(V::clone(row)));
        Ok(Reflects { checkpoints: content.checkpoints.clone(), parked: content.parking.places() })
    }

    fn parking(&self) -> &dyn Parking {
        self
    }

    fn generation(&self) -> u32 {
        self.generation
    }

    fn numbered(&self, generation: u32) -> Self {
        let content = Arc::clone(self.shared.write().contents.entry(generation).or_default());
        Self { generation, content, shared: Arc::clone(&self.shared) }
    }

    fn generations(&self) -> &dyn Generations {
        self
    }
}
