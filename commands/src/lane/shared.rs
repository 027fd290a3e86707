//! Who goes on with a lane: its own thread, and callers.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::{AT_ONCE, Event, Lane, Queued};
use crate::Aggregate;
use crate::outside::{Next, Work};
use crate::owner::FOLD_AFTER;

/// A lane, for all threads that may go on with it. A caller with a command does so itself where nobody else does: waking the
/// lane's own thread and waiting for it would cost more than most decisions. Who finds it busy leaves the command in the
/// queue, and whoever is at work takes it along (flat combining: Hendler, Incze, Shavit and Tzafrir 2010).
pub(crate) struct Shared<A: Aggregate> {
    /// Nothing once it has ended, be it by a panic.
    lane: Mutex<Option<Box<Lane<A>>>>,
    queue: Sender<Queued<A>>,
}

impl<A: Aggregate> Shared<A> {
    pub fn new(lane: Lane<A>, queue: Sender<Queued<A>>) -> Self {
        Self { lane: Mutex::new(Some(Box::new(lane))), queue }
    }

    /// Queues a command, and takes it out again if nobody else is at work.
    pub fn command(&self, queued: Queued<A>) -> Result<(), TrySendError<Queued<A>>> {
        self.queue.try_send(queued)?;
        self.help();
        Ok(())
    }

    /// Takes commands until there are none, or somebody else does. Who puts one into the queue and finds the lane busy
    /// relies on it that the queue is looked at once more after it.
    fn help(&self) {
        while !self.queue.is_empty()
            && let Some(lane) = self.lane.try_lock()
        {
            let helped = Self::go_on(lane, |lane| {
                let helps = lane.context.outside.helps();
                if helps {
                    lane.take_commands();
                }
                helps
            });
            if helped != Some(true) {
                return;
            }
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
            event.into_iter().chain(self.events.try_iter().take(AT_ONCE)).for_each(|event| lane.react(event));
            lane.take_commands();
            (lane.keep(), lane.fold_one())
        });
        let Some((false, folding)) = went_on else { return Next::Done };
        self.folding = folding;
        self.shared.help();
        Next::Now
    }
}
