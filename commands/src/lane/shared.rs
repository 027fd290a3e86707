//! Who goes on with a lane: its own thread, callers, and the threads of its appenders.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, unbounded};
use eventlog::{Report, ReportSink};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::{AT_ONCE, Event, Lane, Queued};
use crate::Aggregate;
use crate::outside::{Next, Work};
use crate::owner::FOLD_AFTER;

/// How often one looks at the queues before the lane's own thread goes on: an appender has other things to do.
const HELP_MAX: usize = 4;

/// A lane, for all threads that may go on with it. A caller with a command does so itself where nobody else does, and so does an
/// appender with a report: waking the lane's own thread and waiting for it would cost more than most decisions. Who finds it
/// busy leaves what it has in the queue, and whoever is at work takes it along (flat combining: Hendler, Incze, Shavit and
/// Tzafrir 2010).
pub(crate) struct Shared<A: Aggregate> {
    /// Nothing once it has ended, be it by a panic.
    lane: Mutex<Option<Box<Lane<A>>>>,
    queue: Sender<Queued<A>>,
    reports: Arc<Reports<A>>,
}

/// Where appenders say what became of their records.
pub(crate) struct Reports<A: Aggregate> {
    queue: Sender<Report>,
    /// Of the lane's own thread.
    events: Sender<Event<A>>,
    lane: OnceLock<Weak<Shared<A>>>,
}

impl<A: Aggregate> Reports<A> {
    pub fn new(events: Sender<Event<A>>) -> (Arc<Self>, Receiver<Report>) {
        let (queue, reports) = unbounded();
        (Arc::new(Self { queue, events, lane: OnceLock::new() }), reports)
    }

    /// For one appender.
    pub fn sink(self: &Arc<Self>) -> ReportSink {
        let this = Arc::clone(self);
        Arc::new(move |report| {
            // A lane that has ended wants no reports.
            if this.queue.send(report).is_err() {
                tracing::debug!("a report for a lane that has ended");
            } else if let Some(lane) = this.lane.get().and_then(Weak::upgrade)
                && catch_unwind(AssertUnwindSafe(|| lane.help())).is_err()
            {
                // The log and its other lanes go on.
                tracing::error!(topic = A::TOPIC.name, "a lane panicked");
            }
        })
    }
}

impl<A: Aggregate> Shared<A> {
    pub fn new(lane: Lane<A>, queue: Sender<Queued<A>>) -> Arc<Self> {
        let reports = Arc::clone(&lane.reporting);
        let shared = Arc::new(Self { lane: Mutex::new(Some(Box::new(lane))), queue, reports });
        // It is set once, here.
        let _ = shared.reports.lane.set(Arc::downgrade(&shared));
        shared
    }

    /// Queues a command, and takes it out again if nobody else is at work.
    pub fn command(&self, queued: Queued<A>) -> Result<(), TrySendError<Queued<A>>> {
        self.queue.try_send(queued)?;
        self.help();
        Ok(())
    }

    /// Takes commands and reports until there are none, or somebody else does; not for ever. Who puts one into its queue and
    /// finds the lane busy relies on it that the queues are looked at once more after it.
    fn help(&self) {
        for _ in 0..HELP_MAX {
            if self.queue.is_empty() && self.reports.queue.is_empty() {
                return;
            }
            let Some(lane) = self.lane.try_lock() else { return };
            let helped = Self::go_on(lane, |lane| {
                let helps = lane.context.outside.helps();
                if helps {
                    lane.take_in();
                }
                helps && !lane.waits
            });
            if helped != Some(true) {
                return;
            }
        }
        if self.reports.events.send(Event::More).is_err() {
            tracing::debug!("the lane has ended");
        }
    }

    /// A lane that panics is not seen again.
    fn go_on<T>(mut place: MutexGuard<'_, Option<Box<Lane<A>>>>, work: impl FnOnce(&mut Lane<A>) -> T) -> Option<T> {
        let mut lane = place.take()?;
        let done = work(&mut lane);
        *place = Some(lane);
        Some(done)
    }
}

/// The lane's own thread: what happens without a command.
pub(crate) struct Keeper<A: Aggregate> {
    pub shared: Arc<Shared<A>>,
    pub events: Receiver<Event<A>>,
    /// There may be something to fold, whatever comes in.
    pub folding: bool,
}

/// The lane ends with it, whoever else could still go on with it.
impl<A: Aggregate> Drop for Keeper<A> {
    fn drop(&mut self) {
        let lane = self.shared.lane.lock().take();
        drop(lane);
    }
}

/// Serves until stopped and drained.
impl<A: Aggregate> Work for Keeper<A> {
    fn step(&mut self, patience: Duration) -> Next {
        let patience = if self.folding { Duration::ZERO } else { patience.min(FOLD_AFTER / 2) };
        let event = match self.events.try_recv() {
            Err(TryRecvError::Empty) if !patience.is_zero() => self.events.recv_timeout(patience).ok(),
            event => event.ok(),
        };
        // Nobody can send anything any more.
        let deserted = Arc::strong_count(&self.shared) == 1;
        let went_on = Shared::go_on(self.shared.lane.lock(), |lane| {
            if deserted {
                lane.stopping.get_or_insert_with(Instant::now);
            }
            lane.take_in();
            event.into_iter().chain(self.events.try_iter().take(AT_ONCE)).for_each(|event| lane.react(event));
            (lane.keep(), lane.fold_one())
        });
        let Some((false, folding)) = went_on else { return Next::Done };
        self.folding = folding;
        self.shared.help();
        Next::Now
    }
}
