//! The log, behind a small port: append to a partition and learn the offset, read from an offset, know the end, be
//! assigned partitions. Everything above it is the same code on every log.
//!
//! Nobody folds a log but through [`Tail`], which applies the reader's rule of [`term`]: whoever reads, whatever they
//! fold, agrees for ever on what counts.

pub mod embedded;
pub mod fault;
mod header_names;
pub mod kafka;
pub mod metrics;
pub mod shared;
pub mod simulated;
pub mod tail;
pub mod term;

use std::any::Any;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use schemas::envelope::EnvelopeError;
use schemas::{Envelope, Headers, Topic};
use uuid::Uuid;

pub use tail::{Admitted, Checkpoint, Tail, TailError};
pub use term::{Terms, Verdict};

/// One partition of a topic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its topic.
    pub topic: &'static Topic,
    /// Its number, from 0.
    pub number: u32,
}

impl Stored {
    /// Its headers, understood; whoever folds a log judges the record by them ([`Terms::read`]).
    ///
    /// # Errors
    /// What they lack to be an envelope.
    pub fn envelope(&self) -> Result<Arc<Envelope>, EnvelopeError> {
        self.envelope.clone().map_or_else(|| Envelope::from_headers(&self.record.headers).map(Arc::new), Ok)
    }
}

impl Partition {
    /// The partition in which the aggregate with this key lives.
    #[must_use]
    pub fn of(topic: &'static Topic, key: &[u8]) -> Self {
        Self { topic, number: topic.partition_of(key) }
    }

    /// Every partition of `topic`.
    pub fn all(topic: &'static Topic) -> impl Iterator<Item = Self> {
        (0..topic.partitions).map(move |number| Self { topic, number })
    }
}

impl std::hash::Hash for Partition {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.topic.name.hash(state);
        self.number.hash(state);
    }
}

impl PartialOrd for Partition {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Partition {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.topic.name, self.number).cmp(&(other.topic.name, other.number))
    }
}

/// As `order.events/3`.
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic.name, self.number)
    }
}

/// The text names no partition of a topic of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a partition such as order.events/3")]
pub struct NoPartition;

impl FromStr for Partition {
    type Err = NoPartition;

    fn from_str(text: &str) -> Result<Self, NoPartition> {
        let (topic, number) = text.split_once('/').ok_or(NoPartition)?;
        let topic = schemas::topics::by_name(topic).ok_or(NoPartition)?;
        let number = number.parse().ok().filter(|number| *number < topic.partitions).ok_or(NoPartition)?;
        Ok(Self { topic, number })
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The aggregate's id.
    pub key: Bytes,
    /// See [`schemas::envelope`]. Shared: a record is handed to the log, the owner and several views.
    pub headers: Arc<Headers>,
    /// See [`schemas::codec`].
    pub payload: Bytes,
}

/// What stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where.
    pub partition: Partition,
    /// At which offset.
    pub offset: u64,
    /// When the log appended it, by the log's clock.
    pub timestamp: Timestamp,
    /// What.
    pub record: Record,
    /// Its headers, where they were read already: once for all who share a reader.
    pub envelope: Option<Arc<Envelope>>,
    /// Its event, likewise.
    pub event: Option<Decoded>,
}

/// An event that somebody decoded for others. The log knows no events, so its type is forgotten.
#[derive(Clone)]
pub struct Decoded(Arc<dyn Any + Send + Sync>);

impl Decoded {
    /// Forgets the type of `event`.
    pub fn new<E: Send + Sync + 'static>(event: E) -> Self {
        Self(Arc::new(event))
    }

    /// The event, if it is one of this type.
    #[must_use]
    pub fn get<E: Send + Sync + 'static>(self) -> Option<Arc<E>> {
        self.0.downcast().ok()
    }
}

/// The same one.
impl PartialEq for Decoded {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Decoded {}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoded")
    }
}

/// Largest payload that may be appended, in bytes: far below the topics' `max.message.bytes`, so that key, headers and
/// framing fit.
pub const PAYLOAD_BYTES_MAX: usize = 900_000;

/// What became of one append.
#[derive(Debug)]
pub struct Report {
    /// Where it was appended to.
    pub partition: Partition,
    /// What the appender was given with the record.
    pub token: u64,
    /// Offset and log time, or why it is not known to have happened: it may have.
    pub outcome: Result<Appended, AppendError>,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// `None` where the log does not say (Kafka after a lost acknowledgement).
    pub offset: Option<u64>,
    /// By the log's clock.
    pub timestamp: Timestamp,
}

/// Why an append is not known to have happened.
#[derive(Debug, Clone, thiserror::Error)]
#[error("appending failed: {detail}")]
pub struct AppendError {
    /// What the log said.
    pub detail: String,
    /// The appender is of no use any more; make a new one.
    pub fatal: bool,
}

/// Why the log could not be asked or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log did not answer, or not in a way that can be used. Asking again may help.
    #[error("{doing} failed: {detail}")]
    Unavailable {
        /// What was attempted.
        doing: String,
        /// What the log said.
        detail: String,
    },
    /// The log has no such topic.
    #[error("topic {0} does not exist; run `lonja topics apply`")]
    NoTopic(&'static str),
    /// The position is not in the log.
    #[error("{partition} has no offset {offset}")]
    OutOfRange {
        /// Where.
        partition: Partition,
        /// Which.
        offset: u64,
    },
    /// The log is there, but it is not the one that this build is made for.
    #[error("the log cannot be used: {0}")]
    Mismatch(String),
    /// A log on disk is one process's at a time.
    #[error("opening {0} failed: another process has it open")]
    InUse(String),
    /// The log holds something that it cannot hold.
    #[error("the log is damaged: {0}")]
    Damaged(String),
}

/// Receives every report of an appender, in the order in which they become known, on a thread of the log's: it must
/// not take long, nor panic.
pub type ReportSink = Arc<dyn Fn(Report) + Send + Sync>;

/// Receives every change of what a member is assigned; see [`EventLog::join`].
pub type AssignmentSink = Box<dyn Fn(Assignment) + Send>;

/// A change of what a member of a group is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment {
    /// These partitions are this member's now. A hint for efficiency: safety does not depend on it.
    Assigned(Vec<Partition>),
    /// These are not any more.
    Revoked(Vec<Partition>),
}

/// A log: Kafka, embedded, or simulated.
pub trait EventLog: Send + Sync + 'static {
    /// Tells this topic from another of the same name, for example after it was deleted and made anew.
    ///
    /// # Errors
    /// When the topic is not there or the log does not answer.
    fn topic_id(&self, topic: &'static Topic) -> Result<Uuid, LogError>;

    /// The offset after the last record of `partition`.
    ///
    /// # Errors
    /// When the partition is not there or the log does not answer.
    fn end(&self, partition: Partition) -> Result<u64, LogError>;

    /// A new appender. Each append leads to exactly one report to `sink`, unless the appender was dropped before.
    ///
    /// # Errors
    /// When it cannot be made.
    fn appender(&self, sink: ReportSink) -> Result<Box<dyn Appender>, LogError>;

    /// A reader of each partition from the offset given with it. Folding code uses [`Tail`].
    ///
    /// # Errors
    /// When it cannot be made.
    fn reader(&self, from: &[(Partition, u64)]) -> Result<Box<dyn Reader>, LogError>;

    /// The record at `offset`, if the log has come so far. For a look at a few places: folding code uses [`Tail`].
    ///
    /// # Errors
    /// When the partition is not there or the log does not answer.
    fn record(&self, partition: Partition, offset: u64) -> Result<Option<Stored>, LogError> {
        if self.end(partition)? <= offset {
            return Ok(None);
        }
        Ok(self.reader(&[(partition, offset)])?.poll(1, Duration::ZERO)?.pop())
    }

    /// Joins the group of owners of `topics` as `node` until the membership is dropped. Returns at once.
    ///
    /// # Errors
    /// When joining cannot begin.
    fn join(
        &self,
        group: &str,
        node: &str,
        topics: &[&'static Topic],
        sink: AssignmentSink,
    ) -> Result<Box<dyn Membership>, LogError>;
}

/// Appends, in order per partition.
pub trait Appender: Send + Sync {
    /// Hands the record over and returns at once; the outcome is reported with `token`.
    ///
    /// # Errors
    /// When the record was not taken: it is not and will not be in the log, and no report follows.
    fn append(&self, partition: Partition, record: &Record, token: u64) -> Result<(), AppendError>;
}

/// Reads on from where it was made.
pub trait Reader: Send {
    /// The next records, at most `max`; none when there are none within `wait`. Offsets ascend per partition.
    ///
    /// # Errors
    /// When the log cannot be read; the position is then kept.
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError>;
}

/// Membership in a group; leaves it when dropped.
pub trait Membership: Send + Sync {}
