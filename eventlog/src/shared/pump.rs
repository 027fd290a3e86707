//! Reads for all followers, on a thread of its own, or, while owners of this process tell everything, hands on what they tell.
//!
//! What is told is in the log: its owner has the log's word for it. Three things can make it less than the log has, or more,
//! and each leads back to reading: the owner ends (it looks itself whether the log still has its claim and its last record),
//! a record is told behind records of others, and the log's end runs away from what is told, or is before it. Reading begins at
//! the last record that was read or told, and fails where that is not in the log any more: then who follows compares its
//! checkpoint.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use schemas::Envelope;
use tokio::time::Instant;

use super::Feed;
use super::buffer::{Lasts, Positions, weight};
use crate::fault::mutant;
use crate::tail::identity;
use crate::{EventLog, LogError, Partition, Reader, Stored};

/// How much is kept for followers, in bytes.
const BUDGET: usize = 16 << 20;
/// Most records that are read at once.
const READ_MAX: usize = 2_000;
/// How long a read waits for records; so long may also leaving take.
const WAIT: Duration = Duration::from_millis(100);
/// How long reading has gone well before what is told may take its place.
const SETTLED: Duration = Duration::from_secs(1);
/// How long a new leader of a partition may say that less is replicated than is.
const LEADER_BEHIND: Duration = Duration::from_secs(2);
/// How often, while all is told, the log is asked for the end of one partition after the other.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Reads or hands on, a little at each step.
pub(super) struct Pump {
    log: Arc<dyn EventLog>,
    mode: Mode,
    /// For how many partitions the mode is.
    partitions: usize,
    /// The last record that was handed on of each partition, until it was read once more.
    unread: Lasts,
    /// How many records that were told it handed on.
    pub told: u64,
    /// Most records to read next.
    max: usize,
    /// How long to wait for something to do.
    wait: Duration,
    /// Dropped last, also by a panic: then nobody waits for this pump any more, and it has let go of the log.
    feed: Ending,
}

struct Ending(Arc<Feed>);

impl Deref for Ending {
    type Target = Feed;

    fn deref(&self) -> &Feed {
        &self.0
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.tap.stop();
        self.end();
    }
}

enum Mode {
    Reading {
        reader: Option<Box<dyn Reader>>,
        since: Instant,
        /// What is told from here on is kept.
        kept: Option<Positions>,
    },
    /// What is told is all there is.
    Told {
        /// When it was taken last.
        taken: Instant,
        looked: Instant,
        /// Partitions whose end was not at the next record when they were looked at, and which that was.
        waiting: BTreeMap<Partition, u64>,
        turn: usize,
    },
}

impl Mode {
    fn reading() -> Self {
        Self::Reading { reader: None, since: Instant::now(), kept: None }
    }
}

impl Pump {
    pub fn new(feed: Arc<Feed>, log: Arc<dyn EventLog>) -> Self {
        let (mode, unread) = (Mode::reading(), Lasts::new());
        Self { log, mode, partitions: 0, unread, told: 0, max: READ_MAX, wait: WAIT, feed: Ending(feed) }
    }

    /// It does what there is to do, and returns.
    pub fn without_waiting(self) -> Self {
        Self { wait: Duration::ZERO, ..self }
    }

    /// Reads until nobody follows any more, or the log fails.
    pub fn run(mut self) {
        while self.goes_on() {}
    }

    /// A little of that; false at the end.
    pub fn goes_on(&mut self) -> bool {
        self.step().unwrap_or_else(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "shared reading failed");
            false
        })
    }

    fn step(&mut self) -> Result<bool, LogError> {
        let next = {
            let buffer = self.feed.buffer.lock();
            if buffer.cursors.is_empty() {
                return Ok(false);
            }
            buffer.next.clone()
        };
        // They only become more.
        if next.len() > self.partitions {
            self.partitions = next.len();
            self.read_on();
        }
        match self.mode {
            Mode::Reading { .. } => self.read(&next)?,
            Mode::Told { .. } => self.listen(&next),
        }
        Ok(true)
    }

    fn read_on(&mut self) {
        self.feed.tap.stop();
        self.unread.clone_from(&self.feed.buffer.lock().last);
        self.mode = Mode::reading();
    }

    fn read(&mut self, next: &Positions) -> Result<(), LogError> {
        let Mode::Reading { reader, since, kept } = &mut self.mode else { return Ok(()) };
        let reader = match reader {
            Some(reader) => reader,
            none => {
                if let Some(last) = first_beyond(&*self.log, self.unread.values())? {
                    if since.elapsed() > LEADER_BEHIND {
                        return Err(lost(last));
                    }
                    sleep(self.wait);
                    return Ok(());
                }
                let from = |(partition, next): (&Partition, &u64)| {
                    (*partition, next - u64::from(self.unread.contains_key(partition)))
                };
                none.insert(self.log.reader(&next.iter().map(from).collect::<Vec<_>>())?)
            }
        };
        let mut batch = reader.poll(self.max, self.wait)?;
        for stored in &batch {
            if let Some(last) = self.unread.remove(&stored.partition) {
                compare(&last, stored)?;
            }
        }
        batch.retain(|stored| next.get(&stored.partition).is_some_and(|next| stored.offset >= *next));
        for stored in &mut batch {
            // What cannot be read is every follower's own finding.
            let Ok(envelope) = Envelope::from_headers(&stored.record.headers) else { continue };
            stored.event = (self.feed.decode)(stored, &envelope);
            stored.envelope = Some(Arc::new(envelope));
        }
        if kept.is_none() && since.elapsed() >= SETTLED && self.unread.is_empty() {
            *kept = self.feed.tap.draw(next.keys());
        }
        let kept = kept.clone();
        self.push(batch);
        let Some(kept) = kept else { return Ok(()) };
        if !self.feed.tap.is_drawn() {
            self.read_on();
        } else if self.feed.buffer.lock().next.iter().all(|(partition, next)| kept.get(partition) <= Some(next)) {
            let now = Instant::now();
            self.mode = Mode::Told { taken: now, looked: now, waiting: BTreeMap::new(), turn: 0 };
        }
        Ok(())
    }

    fn listen(&mut self, next: &Positions) {
        let Mode::Told { taken, .. } = &mut self.mode else { return };
        let told = self.feed.tap.take(self.wait, *taken);
        *taken = Instant::now();
        let Some(told) = told else { return self.read_on() };
        let (mut next, mut batch) = (next.clone(), Vec::with_capacity(told.len()));
        for stored in told {
            let Some(next) = next.get_mut(&stored.partition) else { continue };
            if stored.offset > *next {
                tracing::debug!(partition = %stored.partition, next, "others have written between what is told");
                self.push(batch);
                return self.read_on();
            }
            if stored.offset == *next {
                *next += 1;
                self.told += 1;
                batch.push(stored);
            }
        }
        self.push(batch);
        if self.runs_away(&next) {
            self.read_on();
        }
    }

    /// Whether the log has had a record for a whole turn that nobody told, or lacked one that was handed on. A log that does not
    /// answer is met by reading.
    fn runs_away(&mut self, next: &Positions) -> bool {
        let Mode::Told { looked, waiting, turn, .. } = &mut self.mode else { return false };
        if looked.elapsed() < LOOK_EVERY {
            return false;
        }
        let Some((partition, next)) = next.iter().nth(*turn % next.len().max(1)) else { return false };
        *turn += 1;
        let end = self.log.end(*partition);
        *looked = Instant::now();
        match end {
            Ok(end) if end == *next => {
                waiting.remove(partition);
                false
            }
            Ok(_) => waiting.insert(*partition, *next) == Some(*next) && !mutant("told-end"),
            Err(_) => true,
        }
    }

    fn push(&mut self, batch: Vec<Stored>) {
        if batch.is_empty() {
            return;
        }
        let bytes: usize = batch.iter().map(weight).sum();
        self.max = (BUDGET * batch.len() / bytes.max(1)).clamp(1, READ_MAX);
        let mut buffer = self.feed.buffer.lock();
        buffer.push(batch);
        self.feed.changed.notify_all();
        buffer.shrink(BUDGET);
    }
}

/// The first of these records that is beyond the log's end.
fn first_beyond<'s>(
    log: &dyn EventLog,
    lasts: impl Iterator<Item = &'s Arc<Stored>>,
) -> Result<Option<&'s Stored>, LogError> {
    for stored in lasts {
        if log.end(stored.partition)? <= stored.offset {
            return Ok(Some(stored));
        }
    }
    Ok(None)
}

/// The first record that is read is to be the last one that was handed on.
fn compare(last: &Stored, read: &Stored) -> Result<(), LogError> {
    let of = |stored: &Stored| (stored.offset, identity(stored.timestamp, &stored.record));
    if of(last) == of(read) || mutant("told-identity") { Ok(()) } else { Err(lost(last)) }
}

fn lost(Stored { partition, offset, .. }: &Stored) -> LogError {
    let detail = format!("what was read or told at {partition}@{offset} is not there");
    LogError::Unavailable { doing: "reading on".to_owned(), detail }
}
