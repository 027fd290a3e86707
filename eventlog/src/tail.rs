//! Folding a log: the reader's rule applied, positions kept, and a changed past detected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use foldhash::{HashMap, HashMapExt};
use schemas::Envelope;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::fault::mutant;
use crate::metrics;
use crate::term::{Terms, Verdict};
use crate::{Decoded, EventLog, LogError, Partition, Record, Stored};

/// How far a fold of one partition has come. It may lag the log, never lead it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Offset of the next record to fold.
    pub next: u64,
    /// Where the reader's rule stands.
    pub terms: Terms,
    /// Which topic was folded.
    pub topic_id: Uuid,
    /// Digest of the record at `next - 1`: tells whether the log still has the past that was folded, also when it lost
    /// its tail and has regrown since. 0 when `next` is 0.
    pub last_record: u128,
}

/// A record that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Where it stands.
    pub partition: Partition,
    /// At which offset.
    pub offset: u64,
    /// When the log appended it.
    pub timestamp: Timestamp,
    /// Its headers.
    pub envelope: Arc<Envelope>,
    /// The record.
    pub record: Record,
    /// Its event, where somebody decoded it already.
    pub event: Option<Decoded>,
}

/// Why a log cannot be folded on.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The log could not be read; asking again may help.
    #[error("reading the log failed")]
    Log(#[from] LogError),
    /// The log is not the one that was folded: it lost its tail, or is another one.
    #[error("{partition} is not the log that was folded up to {next}: {detail}")]
    Diverged {
        /// Which partition.
        partition: Partition,
        /// The checkpoint's position.
        next: u64,
        /// What is different.
        detail: String,
    },
}

/// Reads partitions by the reader's rule.
pub struct Tail {
    reader: Box<dyn crate::Reader>,
    folds: HashMap<Partition, Fold>,
}

struct Fold {
    next: u64,
    terms: Terms,
    topic_id: Uuid,
    last_record: u128,
    /// The checkpoint's last record is still to be compared.
    unverified: bool,
    voids: u64,
}

impl Tail {
    /// Opens partitions, each after its checkpoint, or at the start where there is none.
    ///
    /// # Errors
    /// When the log cannot be asked, or visibly is not the one that a checkpoint was taken from. The rest of that check
    /// is made by the first [`Self::poll`].
    pub fn open(log: &dyn EventLog, partitions: &[(Partition, Option<Checkpoint>)]) -> Result<Self, TailError> {
        let mut folds = HashMap::new();
        let mut from = Vec::new();
        for &(partition, checkpoint) in partitions {
            let topic_id = log.topic_id(partition.topic)?;
            let fold = Fold::new(topic_id, checkpoint);
            if let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.next > 0) {
                check_reach(log, partition, topic_id, &checkpoint)?;
                from.push((partition, checkpoint.next - 1));
            } else {
                from.push((partition, 0));
            }
            folds.insert(partition, fold);
        }
        Ok(Self { reader: log.reader(&from)?, folds })
    }

    /// The next records that count, in log order per partition; claims are not among them. An empty answer means that
    /// nothing that counts arrived within `wait`, though positions may have moved.
    ///
    /// # Errors
    /// When the log cannot be read, or is not the one that was folded.
    pub fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Admitted>, TailError> {
        let batch = self.reader.poll(max, wait)?;
        let mut admitted = Vec::with_capacity(batch.len());
        // Records of one partition mostly come one after the other.
        let runs = batch.chunk_by(|one, next| one.partition == next.partition).filter_map(<[Stored]>::last);
        let lasts: HashMap<Partition, u64> = runs.map(|stored| (stored.partition, stored.offset)).collect();
        let mut batch = batch.into_iter().peekable();
        while let Some(partition) = batch.peek().map(|stored| stored.partition) {
            let (mut fold, last) = (self.folds.get_mut(&partition), lasts.get(&partition));
            while let Some(stored) = batch.next_if(|stored| stored.partition == partition) {
                let Some(fold) = &mut fold else { continue };
                if fold.unverified {
                    fold.verify(&stored)?;
                    continue;
                }
                if last == Some(&stored.offset) {
                    fold.last_record = identity(stored.timestamp, &stored.record);
                }
                admitted.extend(fold.admit(stored));
            }
        }
        Ok(admitted)
    }

    /// Offset of the next record of `partition`; 0 for one that is not read.
    #[must_use]
    pub fn next(&self, partition: Partition) -> u64 {
        self.folds.get(&partition).map_or(0, |fold| fold.next)
    }

    /// Where the reader's rule stands in `partition`.
    #[must_use]
    pub fn terms(&self, partition: Partition) -> Terms {
        self.folds.get(&partition).map_or_else(Terms::default, |fold| fold.terms)
    }

    /// The checkpoint of everything that was polled of `partition`.
    #[must_use]
    pub fn checkpoint(&self, partition: Partition) -> Option<Checkpoint> {
        self.folds.get(&partition).map(Fold::checkpoint)
    }

    /// Checkpoints of every partition.
    #[must_use]
    pub fn checkpoints(&self) -> BTreeMap<Partition, Checkpoint> {
        self.folds.iter().map(|(partition, fold)| (*partition, fold.checkpoint())).collect()
    }

    /// How many records were void since the tail was opened.
    #[must_use]
    pub fn voids(&self) -> u64 {
        self.folds.values().map(|fold| fold.voids).sum()
    }
}

fn check_reach(
    log: &dyn EventLog,
    partition: Partition,
    topic_id: Uuid,
    checkpoint: &Checkpoint,
) -> Result<(), TailError> {
    let diverged = |detail: String| TailError::Diverged { partition, next: checkpoint.next, detail };
    if topic_id != checkpoint.topic_id {
        return Err(diverged(format!("its topic was {} and is {topic_id}", checkpoint.topic_id)));
    }
    let end = log.end(partition)?;
    if end < checkpoint.next {
        return Err(diverged(format!("it ends at {end}")));
    }
    Ok(())
}

impl Checkpoint {
    /// Whether `log` is the one that was folded, as [`Tail`] finds out while it reads: for who wants to know it before
    /// anything else happens.
    ///
    /// # Errors
    /// When it is not, or cannot be asked.
    pub fn verify(&self, log: &dyn EventLog, partition: Partition) -> Result<(), TailError> {
        check_reach(log, partition, log.topic_id(partition.topic)?, self)?;
        match self.stands(log, partition)? {
            true => Ok(()),
            false => Err(self.another(partition)),
        }
    }

    fn another(&self, partition: Partition) -> TailError {
        let detail = format!("the record at {} is another one", self.next.saturating_sub(1));
        TailError::Diverged { partition, next: self.next, detail }
    }

    /// Whether the log still has the last record that was folded.
    ///
    /// # Errors
    /// When the log cannot be asked.
    pub fn stands(&self, log: &dyn EventLog, partition: Partition) -> Result<bool, LogError> {
        let Some(last) = self.next.checked_sub(1) else { return Ok(true) };
        let stored = log.record(partition, last)?;
        Ok(stored.is_some_and(|stored| identity(stored.timestamp, &stored.record) == self.last_record))
    }
}

impl Fold {
    fn new(topic_id: Uuid, checkpoint: Option<Checkpoint>) -> Self {
        let start = Checkpoint { next: 0, terms: Terms::default(), topic_id, last_record: 0 };
        let Checkpoint { next, terms, topic_id, last_record } = checkpoint.unwrap_or(start);
        Self { next, terms, topic_id, last_record, unverified: next > 0, voids: 0 }
    }

    fn verify(&mut self, stored: &Stored) -> Result<(), TailError> {
        let same = identity(stored.timestamp, &stored.record) == self.last_record || mutant("checkpoint-identity");
        if stored.offset + 1 != self.next || !same {
            return Err(self.checkpoint().another(stored.partition));
        }
        self.unverified = false;
        Ok(())
    }

    fn admit(&mut self, stored: Stored) -> Option<Admitted> {
        self.next = stored.offset + 1;
        let envelope = stored.envelope();
        let Stored { partition, offset, timestamp, record, event, .. } = stored;
        match (self.terms.read(&envelope), envelope) {
            (Verdict::Valid, Ok(envelope)) => Some(Admitted { partition, offset, timestamp, envelope, record, event }),
            (Verdict::Void(reason), _) => {
                self.voids += 1;
                metrics::void_record(partition.topic.name, reason);
                tracing::debug!(%partition, offset, reason = reason.as_str(), "void record");
                None
            }
            _ => None,
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { next: self.next, terms: self.terms, topic_id: self.topic_id, last_record: self.last_record }
    }
}

/// What a checkpoint remembers of a record: half of a SHA-256 over the log's time of it and its key, headers and payload, each
/// with its length. The time tells a record from the same one that was sent again after the log lost it, and may stand at the
/// same offset with another past before it.
#[must_use]
pub fn identity(timestamp: Timestamp, record: &Record) -> u128 {
    let mut digest = Sha256::new();
    digest.update(timestamp.0.to_be_bytes());
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(&record.key);
    for (name, value) in record.headers.iter() {
        part(name.as_bytes());
        part(value);
    }
    part(&record.payload);
    let digest = digest.finalize();
    digest.iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte))
}
