//! One reader for everybody in a process who follows the end of a log.
//!
//! Every view reads the same records at the same time. On Kafka a reader of its own is a fetch of its own that waits at
//! the broker, and each append makes the broker look again at every fetch that waits for its partition (`DelayedFetch`):
//! with three views a third of a command's CPU went there (figures in ARCHITECTURE.md). So one [`pump`] reads for all who are near the end,
//! into a buffer with a bound. Who falls behind the buffer reads alone until it is near again, and so holds up nobody;
//! when the pump's reader fails everybody reads alone, and meets the error in its own place.

mod pump;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use schemas::Topic;
use uuid::Uuid;

use crate::{Appender, AssignmentSink, EventLog, LogError, Membership, Partition, Reader, ReportSink, Stored};

/// A log whose readers share one reader of another log. All else is the other log's.
pub struct SharedLog {
    log: Arc<dyn EventLog>,
    feed: Arc<Feed>,
}

impl SharedLog {
    /// `log`, with shared reading.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, feed: Arc::default() }
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
        let positions = from.iter().copied().collect();
        Ok(Box::new(SharedReader { log, feed, positions, source: Source::Own { reader, looked: None } }))
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

/// Offsets of next records.
type Positions = BTreeMap<Partition, u64>;

#[derive(Default)]
struct Feed {
    buffer: Mutex<Buffer>,
    /// There are more records, or the pump has ended.
    changed: Condvar,
}

/// The latest records, and who follows them.
#[derive(Default)]
struct Buffer {
    /// In the order in which they were read.
    records: VecDeque<Arc<Stored>>,
    /// How many records came before these.
    passed: u64,
    bytes: usize,
    /// From here on every record is in `records` or still to come.
    from: Positions,
    /// Where the pump reads on.
    next: Positions,
    /// Which record each follower takes next, counted like `passed`.
    cursors: HashMap<u64, u64>,
    followers_ever: u64,
    /// Changes when everything above starts anew.
    epoch: u64,
    running: bool,
}

/// Who follows the buffer.
struct Place {
    follower: u64,
    epoch: u64,
}

/// What a follower finds.
enum Taken {
    Records(Vec<Arc<Stored>>),
    /// The buffer went on without it.
    Behind,
}

impl Buffer {
    /// Whether all these partitions are followed already.
    fn knows(&self, positions: &Positions) -> bool {
        positions.keys().all(|partition| self.next.contains_key(partition))
    }

    /// A place for a reader at `positions`, unless what it needs next is gone or not reached yet. Partitions that nobody
    /// follows yet are followed from now on.
    fn seat(&mut self, positions: &Positions) -> Option<Place> {
        for (partition, position) in positions {
            if let (Some(from), Some(next)) = (self.from.get(partition), self.next.get(partition))
                && !(from..=next).contains(&position)
            {
                return None;
            }
        }
        for (partition, position) in positions {
            self.from.entry(*partition).or_insert(*position);
            self.next.entry(*partition).or_insert(*position);
        }
        self.followers_ever += 1;
        self.cursors.insert(self.followers_ever, self.passed);
        Some(Place { follower: self.followers_ever, epoch: self.epoch })
    }

    fn push(&mut self, batch: Vec<Stored>) {
        for stored in batch {
            self.bytes += weight(&stored);
            self.next.insert(stored.partition, stored.offset + 1);
            self.records.push_back(Arc::new(stored));
        }
    }

    /// Forgets the oldest records, until `budget` bytes are left. A follower that has not taken them loses its place.
    fn shrink(&mut self, budget: usize) {
        while self.bytes > budget
            && let Some(oldest) = self.records.pop_front()
        {
            self.bytes -= weight(&oldest);
            self.passed += 1;
            self.from.insert(oldest.partition, oldest.offset + 1);
        }
        let passed = self.passed;
        self.cursors.retain(|_, cursor| *cursor >= passed);
    }

    /// Drops everything; who follows finds its place gone.
    fn clear(&mut self) {
        let (epoch, followers_ever, running) = (self.epoch + 1, self.followers_ever, self.running);
        *self = Self { epoch, followers_ever, running, ..Self::default() };
    }

    /// At most `max` of the records that a reader at `positions` has not seen.
    fn take(&mut self, place: &Place, positions: &Positions, max: usize) -> Taken {
        let cursor = self.cursors.get_mut(&place.follower).filter(|_| place.epoch == self.epoch);
        let Some(cursor) = cursor else { return Taken::Behind };
        let seen = usize::try_from(*cursor - self.passed).unwrap_or(usize::MAX);
        let mut records = Vec::new();
        for stored in self.records.iter().skip(seen) {
            if records.len() == max {
                break;
            }
            *cursor += 1;
            if positions.get(&stored.partition).is_some_and(|next| stored.offset >= *next) {
                records.push(Arc::clone(stored));
            }
        }
        Taken::Records(records)
    }
}

fn weight(stored: &Stored) -> usize {
    let headers: usize = stored.record.headers.iter().map(|(_, value)| value.len()).sum();
    stored.record.key.len() + stored.record.payload.len() + headers + size_of::<Stored>()
}

impl Feed {
    /// Begins to follow; starts the pump where none runs.
    fn follow(self: &Arc<Self>, log: &Arc<dyn EventLog>, positions: &Positions) -> Option<Place> {
        let mut buffer = self.buffer.lock();
        let place = buffer.seat(positions)?;
        if !buffer.running {
            let (feed, log) = (Arc::clone(self), Arc::clone(log));
            let started = std::thread::Builder::new().name("log-feed".to_owned()).spawn(|| pump::run(feed, log));
            if let Err(error) = started {
                tracing::warn!(%error, "no thread for shared reading: every reader reads alone");
                buffer.clear();
                return None;
            }
            buffer.running = true;
        }
        Some(place)
    }

    /// Waits for records until `deadline`.
    fn take(&self, place: &Place, positions: &Positions, max: usize, deadline: Instant) -> Taken {
        let mut buffer = self.buffer.lock();
        loop {
            match buffer.take(place, positions, max) {
                Taken::Records(records) if records.is_empty() && max > 0 => {}
                taken => return taken,
            }
            if self.changed.wait_until(&mut buffer, deadline).timed_out() {
                return Taken::Records(Vec::new());
            }
        }
    }

    /// Gives the place up. The last one waits for the pump, so that nothing has the log open any more.
    fn leave(&self, place: &Place) {
        let mut buffer = self.buffer.lock();
        buffer.cursors.remove(&place.follower);
        while buffer.cursors.is_empty() && buffer.running {
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
        self.feed.follow(&self.log, &self.positions)
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
                Taken::Behind => {
                    tracing::debug!("the shared reader has failed or went on without this one, which reads alone");
                    let from: Vec<_> = self.positions.iter().map(|(partition, next)| (*partition, *next)).collect();
                    let reader = self.log.reader(&from)?;
                    self.feed.leave(place);
                    self.source = Source::Own { reader, looked: None };
                }
            }
        }
        let Source::Own { reader, .. } = &mut self.source else { return Ok(Vec::new()) };
        let batch = reader.poll(max, deadline.saturating_duration_since(Instant::now()))?;
        self.advance(&batch);
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
