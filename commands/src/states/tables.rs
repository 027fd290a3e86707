//! The tables of the state store: on disk, or in memory for a simulation. What is read and written is the same.

use std::collections::BTreeMap;
use std::path::Path;

use fjall::config::{PartitioningPolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, Slice};
use parking_lot::Mutex;

use super::StoreError;
use crate::known::{KEYS_MIN, Known};

/// Of each keyspace. fjall's own 64 MiB costs more memory, and 0.5 to 3 % more CPU per command: its walks are longer.
const MEMTABLE_BYTES_MAX: u64 = 8 << 20;
/// fjall's least. It is read through at each start.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// Of the cache of blocks that were read. What is in use is kept as states in front of it.
const BLOCKS_BYTES_MAX: u64 = 16 << 20;
/// Threads that flush and compact. With more than one, fjall 3.1 keeps the first for flushes: while the others compact it
/// hands the next compaction to itself over and over, which took a third of their processor time while restoring.
const COMPACTORS: usize = 1;

/// From so many bytes on an outcome's content is kept apart from its key.
const OUTCOME_BYTES_MIN: u32 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    States,
    Outcomes,
    /// The command ids of each fold, by log time of its last record and that one's id.
    Ages,
    Checkpoints,
}

pub(super) enum Tables {
    Disk(Disk),
    Memory(Mutex<Content>),
}

pub(super) struct Disk {
    db: Database,
    /// In the order of [`Table`].
    keyspaces: [Keyspace; 4],
    /// Of states and outcomes.
    known: Known,
}

/// By default fjall keeps the filters and indexes of its large levels as single blocks of hundreds of KiB that are read anew for
/// each look-up, once they do not fit into the cache together. So filters stay in memory; there are none of the last level,
/// where nine tenths of all keys are, because what is asked for is there ([`Known`] answers else); indexes are in parts.
fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES_MAX)
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .index_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        .expect_point_read_hits(true)
}

/// Outcomes are written once and forgotten together, and few are read: their content stays in the file that it is flushed to,
/// instead of being written anew by each compaction of their keys.
fn outcomes() -> KeyspaceCreateOptions {
    options().with_kv_separation(Some(KvSeparationOptions::default().separation_threshold(OUTCOME_BYTES_MIN)))
}

type Content = BTreeMap<(Table, Slice), Slice>;
type Entries<'t> = Box<dyn Iterator<Item = Result<(Slice, Slice), fjall::Error>> + 't>;

/// Changes that are made together.
#[derive(Default)]
pub(super) struct Batch(Vec<((Table, Slice), Option<Slice>)>);

impl Batch {
    pub fn insert(&mut self, table: Table, key: impl Into<Slice>, value: Vec<u8>) {
        self.0.push(((table, key.into()), Some(value.into())));
    }

    pub fn remove(&mut self, table: Table, key: impl Into<Slice>) {
        self.0.push(((table, key.into()), None));
    }
}

impl Tables {
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let db = Database::builder(dir).max_journaling_size(JOURNAL_BYTES_MAX).worker_threads(COMPACTORS);
        let db = db.cache_size(BLOCKS_BYTES_MAX).open()?;
        let keyspace = |name| db.keyspace(name, options);
        let (states, outcomes) = (keyspace("states")?, db.keyspace("outcomes", outcomes)?);
        let known = Known::of(vec![states.clone(), outcomes.clone()], KEYS_MIN)?;
        let keyspaces = [states, outcomes, keyspace("ages")?, keyspace("checkpoints")?];
        Ok(Self::Disk(Disk { db, keyspaces, known }))
    }

    pub fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    /// As long as it is held, these tables in memory are busy.
    #[cfg(test)]
    pub fn hold(&self) -> parking_lot::MutexGuard<'_, Content> {
        match self {
            Self::Memory(content) => content.lock(),
            Self::Disk(_) => panic!("these are on disk"),
        }
    }

    /// What is there now, in memory of its own; nothing of what is on disk.
    pub fn copy(&self) -> Self {
        match self {
            Self::Disk(_) => Self::in_memory(),
            Self::Memory(content) => Self::Memory(Mutex::new(content.lock().clone())),
        }
    }

    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, fjall::Error> {
        match self {
            Self::Disk(disk) if table <= Table::Outcomes && !disk.known.may_have(key) => Ok(None),
            Self::Disk(disk) => disk.keyspaces[table as usize].get(key),
            Self::Memory(content) => Ok(content.lock().get(&(table, key.into())).cloned()),
        }
    }

    /// From `from` on, and before `until` where that is given.
    pub fn range(&self, table: Table, from: &[u8], until: Option<&[u8]>) -> Entries<'_> {
        match (self, until) {
            (Self::Disk(disk), Some(until)) => {
                Box::new(disk.keyspaces[table as usize].range(from..until).map(fjall::Guard::into_inner))
            }
            (Self::Disk(disk), None) => {
                Box::new(disk.keyspaces[table as usize].range(from..).map(fjall::Guard::into_inner))
            }
            (Self::Memory(content), _) => {
                let content = content.lock();
                let entries = content
                    .range((table, from.into())..)
                    .take_while(|((other, key), _)| *other == table && until.is_none_or(|until| **key < *until));
                let entries: Vec<_> = entries.map(|((_, key), value)| Ok((key.clone(), value.clone()))).collect();
                Box::new(entries.into_iter())
            }
        }
    }

    /// Whenever fjall has a memtable to flush, it waits here for the disk.
    pub fn commit(&self, Batch(changes): Batch) -> Result<(), fjall::Error> {
        match self {
            Self::Disk(Disk { db, keyspaces, known }) => {
                let change = known.change();
                let mut batch = db.batch();
                for ((table, key), value) in changes {
                    let keyspace = &keyspaces[table as usize];
                    let Some(value) = value else {
                        batch.remove(keyspace, key);
                        continue;
                    };
                    if table <= Table::Outcomes {
                        change.insert(&key);
                    }
                    batch.insert(keyspace, key, value);
                }
                let committed = batch.commit();
                drop(change);
                known.committed();
                committed
            }
            Self::Memory(content) => {
                let mut content = content.lock();
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(content.insert(key, value)),
                        None => drop(content.remove(&key)),
                    }
                }
                Ok(())
            }
        }
    }
}
