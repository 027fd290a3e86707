//! The reading half of a projector: a thread that polls and decodes while the other half waits for the store.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::Timestamp;
use eventlog::{Admitted, Checkpoint, EventLog, LogError, Partition, Tail, TailError};
use schemas::Codec;
use tokio::sync::mpsc;

use super::backoff::{Backoff, Chance};
use super::sorting::{Sorted, Sorting, Unsorted};
use super::trace;
use crate::generations::Scope;
use crate::pace::Pace;
use crate::parking::{ParkedEvent, Place};
use crate::progress::Course;
use crate::store::{Checkpoints, Move};
use crate::view::View;

/// How long a poll waits for records; so long may also stopping take.
const POLL: Duration = Duration::from_millis(100);
/// Longest pause for the sake of a rate: so long may stopping take, too.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Payload bytes at which a batch is meant to end: bounds the memory of a batch of large events.
const BATCH_BYTES: usize = 8 << 20;
/// Batches between reading and writing: what is ready while another is written. Small ones are then written as one.
pub(super) const DEPTH: usize = 3;

/// What the reader hands over.
pub(super) enum Delivery<V: View> {
    /// The log is open.
    Reading,
    /// Read on to here.
    Batch(Batch<V>),
    /// The log does not answer; the reader goes on trying.
    Trouble(String),
    /// The log cannot be folded on.
    Stop(String),
}

/// What the reader handed over and nobody has taken yet.
pub(super) struct Deliveries<V: View> {
    from: mpsc::Receiver<Delivery<V>>,
    /// Was taken too soon.
    kept: Option<Delivery<V>>,
}

impl<V: View> Deliveries<V> {
    pub(super) fn new(from: mpsc::Receiver<Delivery<V>>) -> Self {
        Self { from, kept: None }
    }

    /// The next one; `None` when the reader has ended. Nothing is lost when it is dropped.
    pub(super) async fn next(&mut self) -> Option<Delivery<V>> {
        match self.kept.take() {
            Some(kept) => Some(kept),
            None => self.from.recv().await,
        }
    }

    /// The batch that comes next, if it is there and so large that it need not wait for more to join it, of at most `most` events.
    pub(super) fn ahead(&mut self, most: usize) -> Option<&Batch<V>> {
        if self.kept.is_none() {
            self.kept = self.from.try_recv().ok();
        }
        match &self.kept {
            Some(Delivery::Batch(next)) => Some(next).filter(|next| next.full || next.events.len() > most / 2),
            _ => None,
        }
    }

    /// Adds to `batch` what was read since, up to `most` events: so batches are small where the store keeps up, and larger
    /// where it does not.
    pub(super) fn join(&mut self, batch: &mut Batch<V>, most: usize) {
        for _ in 0..DEPTH {
            match self.from.try_recv() {
                Ok(Delivery::Batch(next)) if batch.events.len() + next.events.len() <= most => batch.join(next),
                Ok(other) => {
                    self.kept = Some(other);
                    return;
                }
                Err(_) => return,
            }
        }
    }
}

/// What was read at once.
pub(super) struct Batch<V: View> {
    pub(super) events: Vec<V::Event>,
    /// Where the last of them stands.
    pub(super) last: Option<Place>,
    /// Events that are to wait.
    pub(super) parked: Vec<ParkedEvent>,
    /// Trace contexts of those events whose traces are recorded.
    pub(super) traces: Vec<String>,
    /// When the log appended the oldest.
    pub(super) oldest: Option<Timestamp>,
    /// Of every partition that was read, if only void records or decisions that changed nothing.
    pub(super) moves: Vec<Move>,
    /// How many records come before the beginning of what is folded.
    pub(super) left_out: u64,
    /// There was as much to read as a batch may have: the view is behind.
    pub(super) full: bool,
}

impl<V: View> Batch<V> {
    /// How many records were read, those that do not count included.
    fn records(&self) -> u64 {
        self.moves.iter().map(|step| step.to.next - step.expected).sum()
    }

    /// The same with `next`, which was read after it.
    pub(super) fn join(&mut self, next: Self) {
        self.events.extend(next.events);
        self.last = next.last.or(self.last);
        self.parked.extend(next.parked);
        self.traces.extend(next.traces);
        self.oldest = self.oldest.into_iter().chain(next.oldest).min();
        for step in next.moves {
            match self.moves.iter_mut().find(|own| own.partition == step.partition) {
                Some(own) => own.to = step.to,
                None => self.moves.push(step),
            }
        }
        self.left_out += next.left_out;
        self.full |= next.full;
    }
}

/// Reads the partitions of a view from their checkpoints on.
pub(super) struct Reader<V: View> {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) codec: Arc<Codec>,
    pub(super) course: Course,
    /// Most records of a batch.
    pub(super) limit: Arc<AtomicUsize>,
    /// How fast.
    pub(super) pace: Pace,
    /// Which part of the log is folded.
    pub(super) scope: Scope,
    pub(super) sorting: Sorting,
    pub(super) at: Checkpoints,
    pub(super) chance: Chance,
    /// Open, and how many records to ask for next at most.
    pub(super) tail: Option<(Tail, usize)>,
    pub(super) view: PhantomData<fn() -> V>,
}

/// What the reader does next.
pub(super) enum Turn<V: View> {
    /// Hands this over.
    Deliver(Delivery<V>),
    /// There is nothing new.
    Nothing,
}

/// Why reading ended.
enum End {
    /// It may go better next time.
    Trouble(String),
    /// It will not.
    Stop(String),
}

impl<V: View> Reader<V> {
    /// Reads until nobody listens any more, or the log cannot be folded on. On a thread of its own.
    pub(super) fn run(mut self, out: &mpsc::Sender<Delivery<V>>) {
        let mut pauses = Pauses::new(&self.chance);
        while !out.is_closed() {
            let begun = Instant::now();
            let Turn::Deliver(delivery) = self.turn(POLL) else { continue };
            let (last, pause) = pauses.after(&delivery, &self.at);
            let pause = pause.or_else(|| self.brake(&delivery, begun));
            if out.blocking_send(delivery).is_err() || last {
                return;
            }
            pause.map(std::thread::sleep);
        }
    }

    /// The same in a task, where the log keeps nobody waiting.
    pub(super) async fn run_in_a_task(mut self, out: mpsc::Sender<Delivery<V>>) {
        let mut pauses = Pauses::new(&self.chance);
        while !out.is_closed() {
            let Turn::Deliver(delivery) = self.turn(Duration::ZERO) else {
                tokio::time::sleep(POLL / 10).await;
                continue;
            };
            let (last, pause) = pauses.after(&delivery, &self.at);
            if out.send(delivery).await.is_err() || last {
                return;
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// How long to pause so that no more than the rate is read. Without a bound, not at all.
    fn brake(&self, delivery: &Delivery<V>, begun: Instant) -> Option<Duration> {
        let Delivery::Batch(batch) = delivery else { return None };
        let due = self.pace.due(batch.records() - batch.left_out)?;
        due.checked_sub(begun.elapsed()).map(|pause| pause.min(PAUSE_MAX))
    }

    fn turn(&mut self, wait: Duration) -> Turn<V> {
        let turn = match self.tail.take() {
            None => self.open().map(|()| Turn::Deliver(Delivery::Reading)),
            Some((tail, max)) => self.read(tail, max, wait),
        };
        turn.unwrap_or_else(|end| {
            Turn::Deliver(match end {
                End::Trouble(reason) => Delivery::Trouble(reason),
                End::Stop(reason) => Delivery::Stop(reason),
            })
        })
    }

    /// Opens the log where reading stands, which also checks that it is still the log that was read.
    fn open(&mut self) -> Result<(), End> {
        let partitions: Vec<_> =
            self.scope.partitions::<V>().into_iter().map(|p| (p, self.at.get(&p).copied())).collect();
        let tail = Tail::open(&*self.log, &partitions)?;
        self.aim(&partitions).map_err(TailError::Log)?;
        self.tail = Some((tail, usize::MAX));
        Ok(())
    }

    fn read(&mut self, mut tail: Tail, max: usize, wait: Duration) -> Result<Turn<V>, End> {
        let most = max.min(self.limit.load(Ordering::Relaxed));
        let admitted = tail.poll(most, wait)?;
        let max = next_max(&admitted);
        let mut batch = self.sort(admitted)?;
        batch.moves = self.moves(tail.checkpoints());
        batch.full = batch.records() >= most as u64;
        self.tail = Some((tail, max));
        if batch.moves.is_empty() {
            return Ok(Turn::Nothing);
        }
        self.at.extend(batch.moves.iter().map(|step| (step.partition, step.to)));
        Ok(Turn::Deliver(Delivery::Batch(batch)))
    }

    /// The view is caught up when it has reached the ends of now.
    fn aim(&self, partitions: &[(Partition, Option<Checkpoint>)]) -> Result<(), LogError> {
        if !self.course.is_aimed() {
            let ends = partitions.iter().map(|&(partition, _)| Ok((partition, self.log.end(partition)?)));
            self.course.aim(ends.collect::<Result<_, LogError>>()?);
        }
        Ok(())
    }

    fn moves(&self, reached: Checkpoints) -> Vec<Move> {
        let stands = |partition| self.at.get(&partition).map_or(0, |checkpoint| checkpoint.next);
        let moves = reached.into_iter().map(|(partition, to)| Move { partition, expected: stands(partition), to });
        moves.filter(|step| step.to.next > step.expected).collect()
    }

    fn sort(&mut self, admitted: Vec<Admitted>) -> Result<Batch<V>, End> {
        let mut batch = Batch {
            events: Vec::with_capacity(admitted.len()),
            last: None,
            parked: Vec::new(),
            traces: Vec::new(),
            oldest: admitted.iter().map(|record| record.timestamp).min(),
            moves: Vec::new(),
            left_out: 0,
            full: false,
        };
        self.sorting.begin();
        for record in admitted {
            if self.scope.leaves_out(&record) {
                batch.left_out += 1;
                continue;
            }
            let place = (record.partition, record.offset);
            let traceparent = record.envelope.traceparent.clone().filter(|parent| trace::is_sampled(parent));
            match self.sorting.sort::<V>(&self.codec, record).map_err(|why| unsorted(place, &why))? {
                Sorted::Apply(event) => {
                    batch.events.push(event);
                    batch.last = Some(place);
                    batch.traces.extend(traceparent);
                }
                Sorted::Park(event) => batch.parked.push(event),
                Sorted::Nothing => {}
            }
        }
        self.sorting.keep();
        Ok(batch)
    }
}

/// How many records to ask for next, so that a batch stays near its size in bytes.
fn next_max(admitted: &[Admitted]) -> usize {
    let bytes: usize = admitted.iter().map(|record| record.record.payload.len()).sum();
    let mean = bytes / admitted.len().max(1);
    (BATCH_BYTES / mean.max(1)).max(1)
}

fn unsorted((partition, offset): Place, why: &Unsorted) -> End {
    End::Trouble(match why {
        Unsorted::Codec(error) => {
            format!("the record at {partition}@{offset} cannot be read yet: {}", super::chain(error))
        }
        Unsorted::Full => {
            format!(
                "the event at {partition}@{offset} would be parked, but there is no room: retry or discard what is parked"
            )
        }
    })
}

/// The pauses after what went wrong.
struct Pauses {
    backoff: Backoff,
    before: Checkpoints,
    chance: Chance,
}

impl Pauses {
    fn new(chance: &Chance) -> Self {
        Self { backoff: Backoff::new(chance), before: Checkpoints::new(), chance: Arc::clone(chance) }
    }

    /// Whether `delivery` is the last one, and how long to pause after it.
    fn after<V: View>(&mut self, delivery: &Delivery<V>, at: &Checkpoints) -> (bool, Option<Duration>) {
        match delivery {
            Delivery::Trouble(_) => {
                if self.before != *at {
                    self.before.clone_from(at);
                    self.backoff = Backoff::new(&self.chance);
                }
                (false, Some(self.backoff.pause()))
            }
            Delivery::Stop(_) => (true, None),
            Delivery::Batch(_) | Delivery::Reading => (false, None),
        }
    }
}

impl From<TailError> for End {
    fn from(error: TailError) -> Self {
        let reason = super::chain(&error);
        match error {
            TailError::Log(LogError::Unavailable { .. } | LogError::NoTopic(_)) => Self::Trouble(reason),
            TailError::Log(_) | TailError::Diverged { .. } => Self::Stop(reason),
        }
    }
}
