//! The log on disk, for a shop with nothing installed: one directory, one process, every acknowledged append synced.
//!
//! A keyspace of `fjall` per topic holds `partition, offset -> record`. One thread writes everything that all appenders
//! have queued as one batch with one sync ([`writer`]), so that the cost of the sync is shared (group commit). Readers
//! ([`reader`]) see a record when it is durable, never before.
//!
//! Limit: after a power cut amid a write, `fjall` drops the batch that was not written whole, but where only the inside
//! of a value of several KiB is missing, it refuses to open (seen with 3.1.13 by blanking single pages of its journal).
//! Nothing acknowledged is lost then, but somebody has to cut off the journal's end.

mod frame;
mod group;
mod reader;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use domain::Timestamp;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::{Condvar, Mutex};
use schemas::Topic;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Appender, AssignmentSink, EventLog, LogError, Membership, Partition, Reader, ReportSink};
use group::Groups;
use writer::Writer;

/// The keyspace that says which topics there are.
const CATALOGUE: &str = "_topics";

/// Under which key the catalogue says how everything is written; no topic has such a name.
const FORMAT_KEY: &str = "#format";

/// How keys, values and the catalogue are written.
const FORMAT: u32 = 1;

/// A log in a directory.
pub struct EmbeddedLog {
    store: Arc<Store>,
    writer: Arc<Writer>,
    groups: Groups,
}

/// What the catalogue says of a topic.
#[derive(Serialize, Deserialize)]
struct CatalogueEntry {
    id: Uuid,
    partitions: u32,
}

/// What writer and readers share.
struct Store {
    database: Database,
    topics: HashMap<&'static str, TopicStore>,
    /// How often durable ends have moved; readers wait on it.
    growth: Mutex<u64>,
    grown: Condvar,
    /// Why nothing can be appended any more.
    failure: OnceLock<String>,
}

struct TopicStore {
    id: Uuid,
    keyspace: Keyspace,
    /// By partition: the offset after the last record that is durable.
    ends: Vec<AtomicU64>,
}

impl EmbeddedLog {
    /// Opens the log in `dir`, making it and the topics that are missing.
    ///
    /// # Errors
    /// When the directory cannot be used, another process has it open, what it holds is damaged, or a topic there has
    /// another partition count than the table says.
    pub fn open(dir: &Path, topics: &[&'static Topic]) -> Result<Self, LogError> {
        let doing = format!("opening {}", dir.display());
        let opening = |error: fjall::Error| match error {
            fjall::Error::Locked => LogError::InUse(dir.display().to_string()),
            fjall::Error::JournalRecovery(error) => {
                LogError::Damaged(format!("the last batch in {} is not whole: {error:?}", dir.display()))
            }
            error => unavailable(&doing, &describe(&error)),
        };
        std::fs::create_dir_all(dir).map_err(|error| opening(error.into()))?;
        let database = Database::builder(dir).open().map_err(opening)?;
        let catalogue = database.keyspace(CATALOGUE, KeyspaceCreateOptions::default).map_err(opening)?;
        check_format(&database, &catalogue)?;
        let mut stores = HashMap::new();
        let mut latest = Timestamp(0);
        for topic in topics {
            let (store, timestamp) = TopicStore::open(&database, &catalogue, topic)?;
            latest = latest.max(timestamp);
            stores.insert(topic.name, store);
        }
        let store = Arc::new(Store {
            database,
            topics: stores,
            growth: Mutex::new(0),
            grown: Condvar::new(),
            failure: OnceLock::new(),
        });
        let writer = Writer::start(Arc::clone(&store), latest)?;
        Ok(Self { store, writer: Arc::new(writer), groups: Groups::default() })
    }
}

impl EventLog for EmbeddedLog {
    fn topic_id(&self, topic: &'static Topic) -> Result<Uuid, LogError> {
        Ok(self.store.topic(topic)?.id)
    }

    fn end(&self, partition: Partition) -> Result<u64, LogError> {
        self.store.end(partition)
    }

    fn appender(&self, sink: ReportSink) -> Result<Box<dyn Appender>, LogError> {
        Ok(Box::new(writer::EmbeddedAppender::new(Arc::clone(&self.writer), Arc::clone(&self.store), sink)))
    }

    fn reader(&self, from: &[(Partition, u64)]) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(reader::EmbeddedReader::new(Arc::clone(&self.store), from)?))
    }

    fn join(
        &self,
        group: &str,
        node: &str,
        topics: &[&'static Topic],
        sink: AssignmentSink,
    ) -> Result<Box<dyn Membership>, LogError> {
        for topic in topics {
            self.store.topic(topic)?;
        }
        self.groups.join(group, node, topics, sink)
    }
}

impl Store {
    fn topic(&self, topic: &'static Topic) -> Result<&TopicStore, LogError> {
        self.topics.get(topic.name).ok_or(LogError::NoTopic(topic.name))
    }

    fn end(&self, partition: Partition) -> Result<u64, LogError> {
        let topic = self.topic(partition.topic)?;
        let end = topic.ends.get(partition.number as usize);
        let end = end.ok_or(LogError::OutOfRange { partition, offset: 0 })?;
        Ok(end.load(Ordering::Acquire))
    }

    /// Makes records visible and wakes readers.
    fn publish(&self, ends: impl IntoIterator<Item = (Partition, u64)>) {
        for (partition, end) in ends {
            if let Some(topic) = self.topics.get(partition.topic.name) {
                topic.ends[partition.number as usize].store(end, Ordering::Release);
            }
        }
        *self.growth.lock() += 1;
        self.grown.notify_all();
    }

    fn growth(&self) -> u64 {
        *self.growth.lock()
    }

    /// Waits until ends have moved since `seen`, but not past `deadline`. False when it is over.
    fn wait_for_growth(&self, seen: u64, deadline: Instant) -> bool {
        let mut growth = self.growth.lock();
        while *growth == seen {
            if self.grown.wait_until(&mut growth, deadline).timed_out() {
                return false;
            }
        }
        true
    }
}

impl TopicStore {
    /// Also returns the time of the latest record.
    fn open(database: &Database, catalogue: &Keyspace, topic: &'static Topic) -> Result<(Self, Timestamp), LogError> {
        let failed = |error: fjall::Error| unavailable(&format!("opening topic {}", topic.name), &describe(&error));
        let keyspace = database.keyspace(topic.name, KeyspaceCreateOptions::default).map_err(failed)?;
        let entry = match catalogue.get(topic.name).map_err(failed)? {
            Some(bytes) => postcard::from_bytes(&bytes)
                .map_err(|error| LogError::Damaged(format!("the catalogue entry of {}: {error}", topic.name)))?,
            None => Self::enter(database, catalogue, &keyspace, topic)?,
        };
        if entry.partitions != topic.partitions {
            return Err(LogError::Mismatch(format!(
                "topic {} has {} partitions, this build expects {}; the count is part of the data and cannot change",
                topic.name, entry.partitions, topic.partitions
            )));
        }
        let mut ends = Vec::new();
        let mut latest = Timestamp(0);
        for partition in Partition::all(topic) {
            let (end, timestamp) = last_of(&keyspace, partition)?;
            latest = latest.max(timestamp);
            ends.push(AtomicU64::new(end));
        }
        Ok((Self { id: entry.id, keyspace, ends }, latest))
    }

    fn enter(
        database: &Database,
        catalogue: &Keyspace,
        keyspace: &Keyspace,
        topic: &Topic,
    ) -> Result<CatalogueEntry, LogError> {
        if keyspace.last_key_value().is_some() {
            return Err(LogError::Damaged(format!("topic {} holds records but is not in the catalogue", topic.name)));
        }
        let entry = CatalogueEntry { id: Uuid::new_v4(), partitions: topic.partitions };
        put(database, catalogue, topic.name, &entry)?;
        Ok(entry)
    }
}

fn check_format(database: &Database, catalogue: &Keyspace) -> Result<(), LogError> {
    let stored = catalogue.get(FORMAT_KEY).map_err(|error| unavailable("reading the catalogue", &describe(&error)))?;
    let Some(stored) = stored else { return put(database, catalogue, FORMAT_KEY, &FORMAT) };
    match postcard::from_bytes::<u32>(&stored) {
        Ok(FORMAT) => Ok(()),
        Ok(other) => {
            Err(LogError::Mismatch(format!("the log is written in format {other}, this build reads {FORMAT}")))
        }
        Err(error) => Err(LogError::Damaged(format!("the format number: {error}"))),
    }
}

/// Writes into the catalogue, durably.
fn put(database: &Database, catalogue: &Keyspace, key: &str, value: &impl Serialize) -> Result<(), LogError> {
    let failed = |detail: String| unavailable("writing the catalogue", &detail);
    let bytes = postcard::to_stdvec(value).map_err(|error| failed(error.to_string()))?;
    catalogue.insert(key, bytes).map_err(|error| failed(describe(&error)))?;
    database.persist(PersistMode::SyncAll).map_err(|error| failed(describe(&error)))
}

/// The end of a partition and the time of its last record.
fn last_of(keyspace: &Keyspace, partition: Partition) -> Result<(u64, Timestamp), LogError> {
    let all = frame::key(partition.number, 0)..=frame::key(partition.number, u64::MAX);
    let Some(last) = keyspace.range(all).next_back() else { return Ok((0, Timestamp(0))) };
    let (key, value) = last.into_inner().map_err(|error| unavailable("reading the log's end", &describe(&error)))?;
    let offset = frame::offset(&key).ok_or_else(|| LogError::Damaged(format!("a key of {partition}")))?;
    Ok((offset + 1, frame::decode(partition, offset, &value)?.timestamp))
}

fn unavailable(doing: &str, detail: &str) -> LogError {
    LogError::Unavailable { doing: doing.to_owned(), detail: detail.to_owned() }
}

/// `fjall::Error` says what is wrong only in its `Debug` form, which its `Display` repeats behind a prefix.
fn describe(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Io(error) => error.to_string(),
        fjall::Error::Poisoned => "an earlier write failed".to_owned(),
        error => format!("{error:?}"),
    }
}
