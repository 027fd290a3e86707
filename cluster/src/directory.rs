//! Who owns what, as the owners say it. The latest word of a partition counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use eventlog::{EventLog, LogError, Partition, Reader, Stored};
use parking_lot::Mutex;
use schemas::topics::OWNERS;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Where announcements are.
pub(crate) const HOME: Partition = Partition { topic: &OWNERS, number: 0 };
/// How long one poll waits, and so how late a follower ends.
const POLL: Duration = Duration::from_millis(200);
/// Announcements read at a time.
const BATCH_MAX: usize = 1_000;

/// What an owner says of itself: the value of an announcement, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its node.
    pub node: String,
    /// Where the node is reached, as `HOST:PORT`.
    pub address: Arc<str>,
    /// Number of its term.
    pub term: u64,
}

/// Told of every entry that another node announced.
pub(crate) type Heard = Box<dyn Fn(Partition, &Entry) + Send>;

type Entries = BTreeMap<Partition, Entry>;

/// The owners, followed on a thread of its own until dropped.
pub struct Directory {
    node: String,
    entries: watch::Sender<Entries>,
    caught_up: AtomicBool,
    ended: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Directory {
    /// Follows the announcements on `log`.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(crate) fn follow(log: Arc<dyn EventLog>, node: &str, heard: Option<Heard>) -> Result<Arc<Self>, LogError> {
        let directory = Arc::new(Self {
            node: node.to_owned(),
            entries: watch::Sender::default(),
            caught_up: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            thread: Mutex::new(None),
        });
        let followed = Arc::downgrade(&directory);
        let follow = move || {
            let mut reader = None;
            let mut next = 0;
            // Whoever drops the directory must not wait for this thread's poll: it holds nothing while it reads.
            while let Some(directory) = followed.upgrade().filter(|directory| !directory.ended.load(Ordering::Relaxed))
            {
                let node = directory.node.clone();
                drop(directory);
                match read(log.as_ref(), &mut reader, next) {
                    Ok((batch, end)) => {
                        next = batch.last().map_or(next, |last| last.offset + 1);
                        if let Some(directory) = followed.upgrade() {
                            directory.learn(batch, &node, heard.as_ref());
                            if next >= end {
                                directory.caught_up.store(true, Ordering::Release);
                            }
                        }
                    }
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "announcements cannot be read");
                        reader = None;
                        std::thread::sleep(POLL);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("owners".into()).spawn(follow);
        let thread = thread
            .map_err(|error| LogError::Unavailable { doing: "starting a thread".into(), detail: error.to_string() })?;
        *directory.thread.lock() = Some(thread);
        Ok(directory)
    }

    fn learn(&self, batch: Vec<Stored>, node: &str, heard: Option<&Heard>) {
        let news: Vec<_> = batch.iter().filter_map(read_entry).collect();
        for (partition, entry) in news.iter().filter(|(_, entry)| entry.node != node) {
            if let Some(heard) = heard {
                heard(*partition, entry);
            }
        }
        if !news.is_empty() {
            self.entries.send_modify(|entries| entries.extend(news));
        }
    }

    /// Whether everything was read that was there at the start.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }

    /// What was heard last of each partition.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<Partition, Entry> {
        self.entries.borrow().clone()
    }

    /// The owner of `partition`, if it is another node.
    pub(crate) fn elsewhere(&self, partition: Partition) -> Option<Arc<str>> {
        let entries = self.entries.borrow();
        entries.get(&partition).filter(|entry| entry.node != self.node).map(|entry| Arc::clone(&entry.address))
    }

    /// Where other nodes are.
    pub(crate) fn addresses(&self) -> BTreeSet<Arc<str>> {
        let entries = self.entries.borrow();
        entries.values().filter(|entry| entry.node != self.node).map(|entry| Arc::clone(&entry.address)).collect()
    }

    /// Ends when `partition` is not at `address` any more.
    pub(crate) async fn moved(&self, partition: Partition, address: &str) {
        let mut entries = self.entries.subscribe();
        let elsewhere = |entries: &Entries| entries.get(&partition).is_none_or(|entry| &*entry.address != address);
        if entries.wait_for(elsewhere).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The follower itself may be the one that drops it last.
        if let Some(thread) =
            self.thread.lock().take().filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("the follower of announcements panicked");
        }
    }
}

/// The next announcements, and where they end.
fn read(
    log: &dyn EventLog,
    reader: &mut Option<(Box<dyn Reader>, u64)>,
    next: u64,
) -> Result<(Vec<Stored>, u64), LogError> {
    if reader.is_none() {
        let end = log.end(HOME)?;
        *reader = Some((log.reader(&[(HOME, next)])?, end));
    }
    match reader {
        Some((reader, end)) => Ok((reader.poll(BATCH_MAX, POLL)?, *end)),
        None => Ok((Vec::new(), u64::MAX)),
    }
}

fn read_entry(stored: &Stored) -> Option<(Partition, Entry)> {
    let partition = std::str::from_utf8(&stored.record.key).ok()?.parse().ok()?;
    let entry = serde_json::from_slice(&stored.record.payload);
    if let Err(error) = &entry {
        tracing::warn!(%error, %partition, "an announcement cannot be read");
    }
    Some((partition, entry.ok()?))
}
