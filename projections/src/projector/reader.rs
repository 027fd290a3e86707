//! The reading half of a projector: a thread that polls and decodes while the other half waits for the store.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use eventlog::{Admitted, Checkpoint, EventLog, LogError, Partition, Tail, TailError};
use schemas::{Codec, CodecError};
use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::trace;
use crate::progress::Progress;
use crate::store::{Checkpoints, Move};
use crate::view::View;

/// How long a poll waits for records; so long may also stopping take.
const POLL: Duration = Duration::from_millis(100);
/// Payload bytes at which a batch is meant to end: bounds the memory of a batch of large events.
const BATCH_BYTES: usize = 8 << 20;
/// Batches between reading and writing: one is ready while another is written.
pub(super) const DEPTH: usize = 2;

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

/// What was read at once.
pub(super) struct Batch<V: View> {
    pub(super) events: Vec<V::Event>,
    /// Trace contexts of those events whose traces are recorded.
    pub(super) traces: Vec<String>,
    /// When the log appended the oldest.
    pub(super) oldest: Option<Timestamp>,
    /// Of every partition that was read, if only void records or decisions that changed nothing.
    pub(super) moves: Vec<Move>,
}

/// Reads the partitions of a view from their checkpoints on.
pub(super) struct Reader<V: View> {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) codec: Arc<Codec>,
    pub(super) progress: Progress,
    pub(super) batch_events: usize,
    pub(super) at: Checkpoints,
    pub(super) out: mpsc::Sender<Delivery<V>>,
}

/// Why reading ended.
enum End {
    /// Nobody listens any more.
    Closed,
    /// It may go better next time.
    Trouble(String),
    /// It will not.
    Stop(String),
}

impl<V: View> Reader<V> {
    /// Reads until nobody listens any more, or the log cannot be folded on.
    pub(super) fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let before = self.at.clone();
            let (delivery, last) = match self.follow() {
                End::Closed => return,
                End::Trouble(reason) => (Delivery::Trouble(reason), false),
                End::Stop(reason) => (Delivery::Stop(reason), true),
            };
            if self.out.blocking_send(delivery).is_err() || last {
                return;
            }
            if self.at != before {
                backoff = Backoff::default();
            }
            std::thread::sleep(backoff.pause());
        }
    }

    /// Opens the log where reading stands, which also checks that it is still the log that was read, and reads on.
    fn follow(&mut self) -> End {
        let partitions: Vec<_> = V::partitions().into_iter().map(|p| (p, self.at.get(&p).copied())).collect();
        let mut tail = match Tail::open(&*self.log, &partitions) {
            Ok(tail) => tail,
            Err(error) => return error.into(),
        };
        if let Err(error) = self.aim(&partitions) {
            return TailError::Log(error).into();
        }
        if self.out.blocking_send(Delivery::Reading).is_err() {
            return End::Closed;
        }
        let mut max = self.batch_events;
        while !self.out.is_closed() {
            let admitted = match tail.poll(max, POLL) {
                Ok(admitted) => admitted,
                Err(error) => return error.into(),
            };
            max = next_max(&admitted, self.batch_events);
            let mut batch = match self.decode(admitted) {
                Ok(batch) => batch,
                Err(end) => return end,
            };
            batch.moves = self.moves(tail.checkpoints());
            if batch.moves.is_empty() {
                continue;
            }
            let reached: Vec<_> = batch.moves.iter().map(|step| (step.partition, step.to)).collect();
            if self.out.blocking_send(Delivery::Batch(batch)).is_err() {
                return End::Closed;
            }
            self.at.extend(reached);
        }
        End::Closed
    }

    /// The view is caught up when it has reached the ends of now.
    fn aim(&self, partitions: &[(Partition, Option<Checkpoint>)]) -> Result<(), LogError> {
        if !self.progress.is_aimed(V::NAME) {
            let ends = partitions.iter().map(|&(partition, _)| Ok((partition, self.log.end(partition)?)));
            self.progress.aim(V::NAME, ends.collect::<Result<_, LogError>>()?);
        }
        Ok(())
    }

    fn moves(&self, reached: Checkpoints) -> Vec<Move> {
        let stands = |partition| self.at.get(&partition).map_or(0, |checkpoint| checkpoint.next);
        let moves = reached.into_iter().map(|(partition, to)| Move { partition, expected: stands(partition), to });
        moves.filter(|step| step.to.next > step.expected).collect()
    }

    fn decode(&self, admitted: Vec<Admitted>) -> Result<Batch<V>, End> {
        let mut batch = Batch {
            events: Vec::with_capacity(admitted.len()),
            traces: Vec::new(),
            oldest: admitted.iter().map(|record| record.timestamp).min(),
            moves: Vec::new(),
        };
        for record in admitted {
            let (partition, offset) = (record.partition, record.offset);
            let traceparent = record.envelope.traceparent.clone().filter(|parent| trace::is_sampled(parent));
            let event = V::decode(&self.codec, record).map_err(|error| unreadable(partition, offset, &error))?;
            if let Some(event) = event {
                batch.events.push(event);
                batch.traces.extend(traceparent);
            }
        }
        Ok(batch)
    }
}

/// How many records to ask for next, so that a batch stays near its size in bytes.
fn next_max(admitted: &[Admitted], most: usize) -> usize {
    let bytes: usize = admitted.iter().map(|record| record.record.payload.len()).sum();
    let mean = bytes / admitted.len().max(1);
    (BATCH_BYTES / mean.max(1)).clamp(1, most)
}

fn unreadable(partition: Partition, offset: u64, error: &CodecError) -> End {
    let reason = format!("the record at {partition}@{offset} cannot be read: {}", super::chain(error));
    if error.is_transient() { End::Trouble(reason) } else { End::Stop(reason) }
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
