//! One reader for everybody in a process who follows the end of a log.
//!
//! Every view reads the same records at the same time. On Kafka a reader of its own is a fetch of its own that waits at
//! the broker, and each append makes the broker look again at every fetch that waits for its partition (`DelayedFetch`):
//! with three views a third of a command's CPU went there (figures in ARCHITECTURE.md). So one [`pump`] reads for all who are near the end,
//! into a buffer with a bound; what owners in the process confirm it need not even read ([`Tap`]). Who falls behind the buffer reads alone until it is near again, and so holds up nobody;
//! when the pump's reader fails everybody reads alone, and meets the error in its own place.

mod buffer;
mod pump;
mod tap;

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use schemas::{Envelope, Topic};
use tokio::time::Instant;
use uuid::Uuid;

use self::buffer::{Buffer, Lasts, Place, Positions, Taken};
use self::pump::Pump;
pub use self::tap::{Flow, Tap};
use crate::{Appender, AssignmentSink, Decoded, EventLog, LogError, Membership, Partition, Reader, ReportSink, Stored};

/// A log whose readers share one reader of another log. All else is the other log's.
pub struct SharedLog {
    log: Arc<dyn EventLog>,
    feed: Arc<Feed>,
}

impl SharedLog {
    /// `log`, with shared reading. `decode` gives the event of a record, once for all readers; they decode for themselves
    /// what it does not. What owners tell `tap` is not fetched while they tell everything that is followed.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, decode: Decode, tap: Tap) -> Self {
        Self { log, feed: Arc::new(Feed::new(decode, tap, None)) }
    }

    /// The same without a thread: whoever drives the steps reads for all. For a simulation, in which nobody may wait for another.
    #[must_use]
    pub fn stepped(log: Arc<dyn EventLog>, decode: Decode, tap: Tap) -> (Self, Steps) {
        let steps = Steps(Arc::default());
        let feed = Feed::new(decode, tap, Some(Arc::downgrade(&steps.0)));
        (Self { log, feed: Arc::new(feed) }, steps)
    }
}

/// What reads for all followers of a [`SharedLog::stepped`]. With it the reading ends.
pub struct Steps(Arc<Mutex<Option<Pump>>>);

impl Steps {
    /// Goes on a little, if anybody follows. Answers how many records it handed on that owners had told.
    pub fn step(&self) -> u64 {
        // It is not held meanwhile: one that has ended says so to its followers when it is dropped.
        let Some(mut pump) = self.0.lock().take() else { return 0 };
        let before = pump.told;
        let goes_on = pump.goes_on();
        let told = pump.told - before;
        if goes_on {
            *self.0.lock() = Some(pump);
        }
        told
    }
}

impl EventLog for SharedLog {
    fn topic_id(&self, topic: &'static Topic) -> Result<Uuid, LogError> {
        self.log.topic_id(topic)
    }

    fn end(&self, partition: Partition) -> Result<u64, LogError> {
        self.log.end(partition)
    }

    fn appender(&self, sink: ReportSink) -> Result<Box<dyn Appender>, LogError> {
        self.log.appender(sink)
    }

    fn reader(&self, from: &[(Partition, u64)]) -> Result<Box<dyn Reader>, LogError> {
        let reader = self.log.reader(from)?;
        let (log, feed) = (Arc::clone(&self.log), Arc::clone(&self.feed));
        let (positions, lasts) = (from.iter().copied().collect(), Lasts::new());
        Ok(Box::new(SharedReader { log, feed, positions, lasts, source: Source::Own { reader, looked: None } }))
    }

    fn record(&self, partition: Partition, offset: u64) -> Result<Option<Stored>, LogError> {
        self.log.record(partition, offset)
    }

    fn join(
        &self,
        group: &str,
        node: &str,
        topics: &[&'static Topic],
        sink: AssignmentSink,
    ) -> Result<Box<dyn Membership>, LogError> {
        self.log.join(group, node, topics, sink)
    }
}

/// Gives the event of a record whose headers were read.
pub type Decode = Box<dyn Fn(&Stored, &Envelope) -> Option<Decoded> + Send + Sync>;

struct Feed {
    decode: Decode,
    tap: Tap,
    buffer: Mutex<Buffer>,
    /// There are more records, or the pump has ended.
    changed: Condvar,
    /// Where the pump is, if not on a thread of its own.
    stepped: Option<Weak<Mutex<Option<Pump>>>>,
}

impl Feed {
    fn new(decode: Decode, tap: Tap, stepped: Option<Weak<Mutex<Option<Pump>>>>) -> Self {
        Self { decode, tap, buffer: Mutex::default(), changed: Condvar::new(), stepped }
    }

    /// Begins to follow; starts the pump where none runs.
    fn follow(self: &Arc<Self>, log: &Arc<dyn EventLog>, positions: &Positions, lasts: &Lasts) -> Option<Place> {
        let mut buffer = self.buffer.lock();
        let place = buffer.seat(positions, lasts)?;
        if !buffer.running {
            if let Err(error) = self.start(log) {
                tracing::warn!(%error, "no thread for shared reading: every reader reads alone");
                buffer.clear();
                return None;
            }
            buffer.running = true;
        }
        Some(place)
    }

    fn start(self: &Arc<Self>, log: &Arc<dyn EventLog>) -> io::Result<()> {
        let (feed, log) = (Arc::clone(self), Arc::clone(log));
        let Some(stepped) = &self.stepped else {
            let thread = std::thread::Builder::new().name("log-feed".to_owned());
            return thread.spawn(|| Pump::new(feed, log).run()).map(drop);
        };
        let stepped = stepped.upgrade().ok_or_else(|| io::Error::other("nobody steps any more"))?;
        *stepped.lock() = Some(Pump::new(feed, log).without_waiting());
        Ok(())
    }

    /// Waits for records until `deadline`.
    fn take(&self, place: &Place, positions: &Positions, max: usize, deadline: Instant) -> Taken {
        let mut buffer = self.buffer.lock();
        loop {
            match buffer.take(place, positions, max) {
                Taken::Records(records) if records.is_empty() && max > 0 => {}
                taken => return taken,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.changed.wait_for(&mut buffer, left).timed_out() {
                return Taken::Records(Vec::new());
            }
        }
    }

    /// Gives the place up. The last one waits for the pump, so that nothing has the log open any more.
    fn leave(&self, place: &Place) {
        let mut buffer = self.buffer.lock();
        buffer.cursors.remove(&place.follower);
        while buffer.cursors.is_empty() && buffer.running && self.stepped.is_none() {
            self.changed.wait(&mut buffer);
        }
    }

    /// The pump has ended.
    fn end(&self) {
        let mut buffer = self.buffer.lock();
        buffer.clear();
        buffer.running = false;
        self.changed.notify_all();
    }
}

/// How far from the end of a log a reader may be and begin to share it, in records.
const NEAR: u64 = 10_000;
/// How often a reader that reads alone asks how far from the end it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

struct SharedReader {
    log: Arc<dyn EventLog>,
    feed: Arc<Feed>,
    positions: Positions,
    /// What it read before these positions by itself.
    lasts: Lasts,
    source: Source,
}

enum Source {
    Own { reader: Box<dyn Reader>, looked: Option<Instant> },
    Shared(Place),
}

impl SharedReader {
    /// A place at the feed, where it is at what this reader reads next, or nobody feeds these partitions and it is time
    /// to begin.
    fn seat(&mut self) -> Option<Place> {
        let Source::Own { looked, .. } = &mut self.source else { return None };
        if !self.feed.buffer.lock().knows(&self.positions) {
            if looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
                return None;
            }
            *looked = Some(Instant::now());
            if !self.is_near() {
                return None;
            }
        }
        self.feed.follow(&self.log, &self.positions, &self.lasts)
    }

    fn is_near(&self) -> bool {
        let distance = |(partition, next): (&Partition, &u64)| Ok(self.log.end(*partition)?.saturating_sub(*next));
        match self.positions.iter().map(distance).sum::<Result<u64, LogError>>() {
            Ok(distance) => distance <= NEAR,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the log does not say where it ends");
                false
            }
        }
    }

    fn advance(&mut self, batch: &[Stored]) {
        self.positions.extend(batch.iter().map(|stored| (stored.partition, stored.offset + 1)));
    }
}

impl Reader for SharedReader {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError> {
        let deadline = Instant::now() + wait;
        if let Source::Shared(place) = &self.source {
            match self.feed.take(place, &self.positions, max, deadline) {
                Taken::Records(records) => {
                    let batch: Vec<Stored> = records.into_iter().map(Arc::unwrap_or_clone).collect();
                    self.advance(&batch);
                    return Ok(batch);
                }
                apart => {
                    tracing::debug!("the shared reader has failed or went on without this one, which reads alone");
                    let from: Vec<_> = self.positions.iter().map(|(partition, next)| (*partition, *next)).collect();
                    let reader = self.log.reader(&from)?;
                    self.feed.leave(place);
                    self.source = Source::Own { reader, looked: None };
                    // It may have failed because the log lost its end, which a fresh reader cannot know: whoever folds has to
                    // compare the log with its checkpoint again.
                    if matches!(apart, Taken::Ended) {
                        let detail = "the shared reader has failed".to_owned();
                        return Err(LogError::Unavailable { doing: "reading".to_owned(), detail });
                    }
                }
            }
        }
        let Source::Own { reader, .. } = &mut self.source else { return Ok(Vec::new()) };
        let batch = reader.poll(max, deadline.saturating_duration_since(Instant::now()))?;
        self.advance(&batch);
        let runs = batch.chunk_by(|one, next| one.partition == next.partition);
        let lasts = runs.filter_map(|run| run.last());
        self.lasts.extend(lasts.map(|stored| (stored.partition, Arc::new(stored.clone()))));
        if let Some(place) = self.seat() {
            self.source = Source::Shared(place);
        }
        Ok(batch)
    }
}

impl Drop for SharedReader {
    fn drop(&mut self) {
        if let Source::Shared(place) = &self.source {
            self.feed.leave(place);
        }
    }
}
