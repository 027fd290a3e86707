//! The owner's cache of the log on local disk: folded states, the outcome of every recent command, and how far the fold
//! has come, moved together in one atomic batch.
//!
//! Written without fsync and deletable at any time: it may lag the log, never lead it, because only confirmed records are
//! folded here. Restoring and running write the same; a running owner does not wait for it ([`States::begin_fold`]).

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use eventlog::fault::mutant;
use eventlog::{Admitted, Checkpoint, EventLog, LogError, Partition};
use foldhash::{HashMap, HashMapExt};
use parking_lot::Mutex;
use schemas::topics::{COMMAND_REFUSED, COMMAND_UNCHANGED};
use schemas::{Codec, CodecError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Aggregate;

mod budget;
mod outcome;
mod slot;
mod tables;
mod writer;

pub(crate) use budget::{Budget, Share};
pub use outcome::Outcome;
pub use slot::Slot;
use tables::{Batch, Table, Tables};
use writer::Writer;
pub(crate) use writer::Writing;

/// How long the outcome of a command is remembered, in log time: what clients are promised.
pub const OUTCOME_HORIZON: Duration = Duration::from_hours(24);
/// The outcomes of how many former folds one fold removes at most, so that no fold is long.
const EXPIRED_PER_FOLD_MAX: usize = 4;

/// So little that a simulation meets both what is in memory and what is not.
const SIMULATED_MEMORY_BYTES_MAX: usize = 16 << 10;

/// The store of one node.
pub struct Store {
    tables: Arc<Tables>,
    writer: Writer,
    /// With whether somebody waits for it.
    leased: Mutex<HashMap<Partition, bool>>,
    /// For what is kept in memory in front of it.
    pub(crate) memory: Budget,
}

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or what is on it.
    #[error("the state store failed")]
    Disk(#[from] fjall::Error),
    /// The operating system.
    #[error("starting a thread of the state store failed")]
    Thread(#[from] std::io::Error),
    /// A panic.
    #[error("the state store's writer has ended")]
    Writer,
    /// Bytes in the store are not what was written.
    #[error("the state store holds bytes that cannot be read")]
    Bytes(#[from] postcard::Error),
    /// A recorded decision cannot be read.
    #[error("a recorded decision cannot be read")]
    Codec(#[from] CodecError),
}

/// How far a partition is folded, and what that stands on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Folded {
    /// How far.
    pub checkpoint: Checkpoint,
    /// How far it had been read from the log when the owner started, its claim included. An owner whose claim is lost may not
    /// notice at once, and folds what stands in the log where it expects it, and does not count.
    pub base: Checkpoint,
}

impl Folded {
    /// Everything was read from the log.
    pub fn read(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, base: checkpoint }
    }

    /// Whether the log still has what was folded.
    pub fn stands(&self, log: &dyn EventLog, partition: Partition) -> Result<bool, LogError> {
        Ok(self.base_stands(log, partition)? && self.checkpoint.stands(log, partition)?)
    }

    /// Whether it has what that stands on.
    pub fn base_stands(&self, log: &dyn EventLog, partition: Partition) -> Result<bool, LogError> {
        let same = self.base.next == self.checkpoint.next;
        Ok(same || mutant("checkpoint-base") || self.base.stands(log, partition)?)
    }
}

impl Store {
    /// Opens or makes the store in `dir`. Of the states that owners do not work with, about `memory_bytes_max` are kept in
    /// memory.
    ///
    /// # Errors
    /// When the disk fails or another process has it open.
    pub fn open(dir: &Path, memory_bytes_max: usize) -> Result<Arc<Self>, StoreError> {
        Ok(Self::of(Tables::open(dir)?, Writer::start()?, memory_bytes_max))
    }

    /// An empty store in memory, for a simulation: it ends with the last who holds it.
    #[must_use]
    pub fn in_memory() -> Arc<Self> {
        Self::in_memory_with(SIMULATED_MEMORY_BYTES_MAX)
    }

    pub(crate) fn in_memory_with(memory_bytes_max: usize) -> Arc<Self> {
        Self::of(Tables::in_memory(), Writer::none(), memory_bytes_max)
    }

    /// Another store in memory with what this one in memory has now: what a crash leaves.
    #[must_use]
    pub fn left_behind(&self) -> Arc<Self> {
        Self::of(self.tables.copy(), Writer::none(), SIMULATED_MEMORY_BYTES_MAX)
    }

    fn of(tables: Tables, writer: Writer, memory_bytes_max: usize) -> Arc<Self> {
        let memory = Budget::new(memory_bytes_max);
        Arc::new(Self { tables: Arc::new(tables), writer, leased: Mutex::default(), memory })
    }

    /// What became of the command, as far as it is folded here.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn outcome(&self, command_id: Uuid) -> Result<Option<Outcome>, StoreError> {
        let Some(bytes) = self.tables.get(Table::Outcomes, command_id.as_bytes())? else { return Ok(None) };
        Ok(Some(postcard::from_bytes(&bytes)?))
    }

    /// The right to fold one partition, unless somebody has it; who has it is told that it is wanted.
    pub(crate) fn lease<A: Aggregate>(self: &Arc<Self>, partition: Partition) -> Option<States<A>> {
        if let Some(wanted) = self.leased.lock().get_mut(&partition) {
            *wanted = true;
            return None;
        }
        self.lease_spare(partition)
    }

    /// The same, and nobody is told.
    pub(crate) fn lease_spare<A: Aggregate>(self: &Arc<Self>, partition: Partition) -> Option<States<A>> {
        let mut leased = self.leased.lock();
        let Entry::Vacant(free) = leased.entry(partition) else { return None };
        free.insert(false);
        Some(States { store: Arc::clone(self), partition, aggregate: PhantomData })
    }
}

/// The store of one partition, with the exclusive right to fold it; given back when dropped.
pub(crate) struct States<A> {
    store: Arc<Store>,
    partition: Partition,
    aggregate: PhantomData<fn() -> A>,
}

impl<A> Drop for States<A> {
    fn drop(&mut self) {
        self.store.leased.lock().remove(&self.partition);
    }
}

impl<A: Aggregate> States<A> {
    /// Somebody else waits for the right to fold this partition.
    pub fn is_wanted(&self) -> bool {
        self.store.leased.lock().get(&self.partition).is_some_and(|wanted| *wanted)
    }

    /// How far this partition is folded, by today's fold.
    pub fn folded(&self) -> Result<Option<Folded>, StoreError> {
        let Some(bytes) = self.store.tables.get(Table::Checkpoints, self.partition.to_string().as_bytes())? else {
            return Ok(None);
        };
        match postcard::from_bytes::<(u32, Folded)>(&bytes) {
            Ok((state_version, folded)) => Ok((state_version == A::STATE_VERSION).then_some(folded)),
            // As another build wrote it. It is only a cache.
            Err(error) => {
                tracing::warn!(partition = %self.partition, %error, "local state is of another build and is rebuilt");
                Ok(None)
            }
        }
    }

    /// The state of one aggregate, and how many bytes the store has of it.
    pub fn load(&self, key: &[u8]) -> Result<(Slot<A>, usize), StoreError> {
        match self.store.tables.get(Table::States, &self.state_key(key))? {
            Some(bytes) => Ok((postcard::from_bytes(&bytes)?, bytes.len())),
            None => Ok((Slot::default(), 0)),
        }
    }

    /// A part of the memory for states that this partition may use.
    pub fn share(&self) -> Share {
        Share::of(&self.store)
    }

    /// What became of the command, in any partition of this node.
    pub fn outcome(&self, command_id: Uuid) -> Result<Option<Outcome>, StoreError> {
        self.store.outcome(command_id)
    }

    /// Folds records that count and moves the checkpoint, all or nothing.
    pub fn fold(&self, codec: &Codec, records: &[Admitted], folded: Folded) -> Result<(), StoreError> {
        let (batch, _) = self.prepare(codec, records, folded, |_| None)?;
        Ok(self.store.tables.commit(batch)?)
    }

    /// The same, and the store is written elsewhere; until that is over, it is not to be asked for what these records change.
    /// `known` is the state of an aggregate after the last of them, where the caller has it. Says how many bytes the store will
    /// have of each state that changes.
    pub fn begin_fold<'s>(
        &self,
        codec: &Codec,
        records: &[Admitted],
        folded: Folded,
        known: impl Fn(&Bytes) -> Option<&'s Slot<A>>,
    ) -> Result<(Writing, HashMap<Bytes, usize>), StoreError>
    where
        A: 's,
    {
        let (batch, sizes) = self.prepare(codec, records, folded, known)?;
        Ok((self.store.writer.write(&self.store.tables, batch), sizes))
    }

    fn prepare<'s>(
        &self,
        codec: &Codec,
        records: &[Admitted],
        folded: Folded,
        known: impl Fn(&Bytes) -> Option<&'s Slot<A>>,
    ) -> Result<(Batch, HashMap<Bytes, usize>), StoreError>
    where
        A: 's,
    {
        let mut batch = Batch::default();
        let mut slots: HashMap<&Bytes, Cow<'s, Slot<A>>> = HashMap::with_capacity(records.len());
        for record in records {
            let id = *record.envelope.id.as_bytes();
            batch.insert(Table::Outcomes, id, postcard::to_stdvec(&Outcome::of(record))?);
            if is_event(&record.envelope.record_type) {
                let key = &record.record.key;
                match slots.entry(key) {
                    Entry::Occupied(slot) if matches!(slot.get(), Cow::Borrowed(_)) => {}
                    Entry::Occupied(slot) => slot.into_mut().to_mut().apply(codec, record)?,
                    Entry::Vacant(vacant) => match known(key) {
                        Some(slot) => drop(vacant.insert(Cow::Borrowed(slot))),
                        None => vacant.insert(Cow::Owned(self.load(key)?.0)).to_mut().apply(codec, record)?,
                    },
                }
            }
        }
        let mut sizes = HashMap::with_capacity(slots.len());
        for (key, slot) in slots {
            let bytes = postcard::to_stdvec(slot.as_ref())?;
            sizes.insert(key.clone(), bytes.len());
            batch.insert(Table::States, self.state_key(key), bytes);
        }
        if let Some(last) = records.last() {
            let ids: Vec<u8> = records.iter().flat_map(|record| *record.envelope.id.as_bytes()).collect();
            batch.insert(Table::Ages, age_key(last.timestamp, last.envelope.id), ids);
            self.expire(&mut batch, last.timestamp)?;
        }
        let value = postcard::to_stdvec(&(A::STATE_VERSION, folded))?;
        batch.insert(Table::Checkpoints, self.partition.to_string(), value);
        Ok((batch, sizes))
    }

    /// Forgets the partition, so that it is folded from the start again.
    pub fn wipe(&self) -> Result<(), StoreError> {
        let tables = &self.store.tables;
        // Whatever is written comes with a checkpoint: looking through all outcomes for nothing would take seconds.
        if tables.get(Table::Checkpoints, self.partition.to_string().as_bytes())?.is_none() {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.remove(Table::Checkpoints, self.partition.to_string());
        // Partitions are text and end before a slash: the next text after all that begin with it ends with a '0'.
        let (from, mut until) = (self.state_key(&[]), self.state_key(&[]));
        until.pop();
        until.push(b'/' + 1);
        for entry in tables.range(Table::States, &from, Some(&until)) {
            batch.remove(Table::States, entry?.0);
        }
        for entry in tables.range(Table::Outcomes, &[], None) {
            let (id, bytes) = entry?;
            let outcome: Outcome = postcard::from_bytes(&bytes)?;
            if outcome.topic == self.partition.topic.name && outcome.partition == self.partition.number {
                batch.remove(Table::Outcomes, id);
            }
        }
        Ok(tables.commit(batch)?)
    }

    fn expire(&self, batch: &mut Batch, now: Timestamp) -> Result<(), StoreError> {
        let horizon = i64::try_from(OUTCOME_HORIZON.as_millis()).unwrap_or(i64::MAX);
        let oldest = age_key(Timestamp(now.0.saturating_sub(horizon)), Uuid::nil());
        let tables = &self.store.tables;
        for entry in tables.range(Table::Ages, &[], Some(&oldest)).take(EXPIRED_PER_FOLD_MAX) {
            let (key, ids) = entry?;
            let (ids, _) = ids.as_chunks::<16>();
            ids.iter().for_each(|id| batch.remove(Table::Outcomes, *id));
            batch.remove(Table::Ages, key);
        }
        Ok(())
    }

    fn state_key(&self, key: &[u8]) -> Vec<u8> {
        let mut full = format!("{}/", self.partition).into_bytes();
        full.extend_from_slice(key);
        full
    }
}

pub(crate) fn is_event(record_type: &str) -> bool {
    record_type != COMMAND_REFUSED.name && record_type != COMMAND_UNCHANGED.name
}

fn age_key(timestamp: Timestamp, command_id: Uuid) -> Vec<u8> {
    // Times before 1970 do not occur in a log; they sort first here.
    let millis = u64::try_from(timestamp.0).unwrap_or(0);
    [&millis.to_be_bytes(), command_id.as_bytes().as_slice()].concat()
}

#[cfg(test)]
mod tests;
