//! The one thread that writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use domain::Timestamp;
use fjall::PersistMode;

use super::{Store, describe, frame, unavailable};
use crate::{AppendError, Appended, Appender, LogError, Partition, Record, Report, ReportSink};

/// How many records may wait to be written.
const QUEUE_RECORDS_MAX: usize = 65_536;
/// How many bytes may wait to be written.
const QUEUE_BYTES_MAX: usize = 256 << 20;
/// How many records are written with one sync.
const BATCH_RECORDS_MAX: usize = 4_096;
/// How many bytes are written with one sync, but for the last record.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Hands records to the writing thread. The thread ends with the last handle, when all is written.
pub(super) struct Writer {
    sender: Option<Sender<Entry>>,
    queued_bytes: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

struct Entry {
    partition: Partition,
    token: u64,
    value: Vec<u8>,
    sink: ReportSink,
}

impl Writer {
    pub(super) fn start(store: Arc<Store>, latest: Timestamp) -> Result<Self, LogError> {
        let (sender, queue) = bounded(QUEUE_RECORDS_MAX);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let work = Work { store, queue, queued_bytes: Arc::clone(&queued_bytes), latest };
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || work.run())
            .map_err(|error| unavailable("starting the writing thread", &error.to_string()))?;
        Ok(Self { sender: Some(sender), queued_bytes, thread: Some(thread) })
    }

    fn enqueue(&self, entry: Entry) -> Result<(), AppendError> {
        let bytes = entry.value.len();
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) > QUEUE_BYTES_MAX {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(refused("the queue of appends is full", false));
        }
        let sent = self.sender.as_ref().map(|sender| sender.try_send(entry));
        let error = match sent {
            Some(Ok(())) => return Ok(()),
            Some(Err(TrySendError::Full(_))) => refused("the queue of appends is full", false),
            Some(Err(TrySendError::Disconnected(_))) | None => refused("the writing thread has ended", true),
        };
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Err(error)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sender = None;
        let Some(thread) = self.thread.take() else { return };
        // The last handle may go with a sink, on the writing thread itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the log's writing thread panicked");
        }
    }
}

pub(super) struct EmbeddedAppender {
    writer: Arc<Writer>,
    store: Arc<Store>,
    sink: ReportSink,
}

impl EmbeddedAppender {
    pub(super) fn new(writer: Arc<Writer>, store: Arc<Store>, sink: ReportSink) -> Self {
        Self { writer, store, sink }
    }
}

impl Appender for EmbeddedAppender {
    fn append(&self, partition: Partition, record: &Record, token: u64) -> Result<(), AppendError> {
        if let Some(failure) = self.store.failure.get() {
            return Err(refused(failure, true));
        }
        self.store.end(partition).map_err(|error| refused(&error.to_string(), false))?;
        let value = frame::encode(record).map_err(|error| refused(&error.to_string(), false))?;
        self.writer.enqueue(Entry { partition, token, value, sink: Arc::clone(&self.sink) })
    }
}

fn refused(detail: &str, fatal: bool) -> AppendError {
    AppendError { detail: detail.to_owned(), fatal }
}

/// What the writing thread has.
struct Work {
    store: Arc<Store>,
    queue: Receiver<Entry>,
    queued_bytes: Arc<AtomicUsize>,
    /// The time of the latest record: the log's time never runs backwards.
    latest: Timestamp,
}

impl Work {
    fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            let mut bytes = first.value.len();
            let mut entries = vec![first];
            while entries.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
                let Ok(entry) = self.queue.try_recv() else { break };
                bytes += entry.value.len();
                entries.push(entry);
            }
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.write(entries);
        }
    }

    /// Writes `entries` and reports what became of them. Whether a batch whose writing failed is in the log shows only
    /// when it is opened again; until then nothing can be appended, because offsets are not known any more.
    fn write(&mut self, mut entries: Vec<Entry>) {
        let written = match self.store.failure.get() {
            Some(failure) => Err(failure.clone()),
            None => self.commit(&mut entries),
        };
        let failure = match written {
            Ok(offsets) => {
                for (entry, offset) in entries.into_iter().zip(offsets) {
                    let appended = Appended { offset: Some(offset), timestamp: self.latest };
                    entry.report(Ok(appended));
                }
                return;
            }
            Err(failure) => self.store.failure.get_or_init(|| failure).clone(),
        };
        tracing::error!(failure, records = entries.len(), "appending to the embedded log failed; it must be reopened");
        for entry in entries {
            entry.report(Err(refused(&failure, true)));
        }
    }

    /// Makes `entries` durable, then visible, and returns their offsets.
    fn commit(&mut self, entries: &mut [Entry]) -> Result<Vec<u64>, String> {
        self.latest = self.latest.max(now());
        // With a persist mode, fjall's `WriteBatch::commit` writes the batch to its journal, flushes its buffer and
        // calls `File::sync_data` (fdatasync) before it touches the memtables and returns (3.1.13: `batch/mod.rs`,
        // `journal/writer.rs`). The journal's checksum makes the batch all or nothing after a crash, and new journal
        // files are synced with their folder before they are used.
        let mut batch = self.store.database.batch().durability(Some(PersistMode::SyncData));
        let mut ends: HashMap<Partition, u64> = HashMap::new();
        let mut offsets = Vec::with_capacity(entries.len());
        for entry in entries {
            let Partition { topic, number } = entry.partition;
            let topic = self.store.topic(topic).map_err(|error| error.to_string())?;
            let end = match ends.get(&entry.partition) {
                Some(end) => *end,
                None => self.store.end(entry.partition).map_err(|error| error.to_string())?,
            };
            ends.insert(entry.partition, end + 1);
            offsets.push(end);
            frame::stamp(&mut entry.value, self.latest);
            batch.insert(&topic.keyspace, frame::key(number, end), std::mem::take(&mut entry.value));
        }
        batch.commit().map_err(|error| describe(&error))?;
        self.store.publish(ends);
        Ok(offsets)
    }
}

impl Entry {
    fn report(self, outcome: Result<Appended, AppendError>) {
        (self.sink)(Report { partition: self.partition, token: self.token, outcome });
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
