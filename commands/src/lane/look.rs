//! The look at the log, once a second.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use eventlog::fault::mutant;
use eventlog::{EventLog, Partition};
use tokio::time::Instant;

use super::{Event, Lane, Place};
use crate::Aggregate;
use crate::outside::{Next, Work};
use crate::owner::SteppedDown;
use crate::states::Folded;

/// How often it is looked whether the log still has what was confirmed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl<A: Aggregate> Lane<A> {
    /// Looks, beside everything else, whether the log still has each owner's claim and last confirmed record. An owner that
    /// appends nothing does not notice otherwise that the log lost its tail, and would go on answering repeats from what it
    /// remembers; and where the log lost the claim, too, and has grown again, what the owner appends can stand where it
    /// expects it. Between the two nothing is lost unnoticed: a log takes no more of an appender when it misses some of it.
    pub(super) fn look(&mut self) {
        if self.looked_at.is_none_or(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        let running = |(partition, place): (&Partition, &Place<A>)| match place {
            Place::Running { owner, .. } => Some((*partition, owner.folded())),
            Place::Restoring { .. } => None,
        };
        let asked: Vec<_> = self.places.iter().filter_map(running).collect();
        let look = Look { log: Arc::clone(&self.context.log), asked, sender: self.sender.clone() };
        self.looked_at = match self.context.outside.run("look".into(), Box::new(look)) {
            Ok(_) => None,
            Err(error) => {
                tracing::error!(%error, "no thread for looking at the log");
                Some(Instant::now())
            }
        };
    }

    /// Twice in a row, because a new leader may say for a moment that less is replicated than is.
    pub(super) fn looked(&mut self, found: Vec<(Partition, u64, bool)>) {
        self.looked_at = Some(Instant::now());
        for (partition, confirmed, there) in found {
            if there {
                self.missing.remove(&partition);
            } else if !self.missing.insert(partition)
                && matches!(self.places.get(&partition), Some(Place::Running { .. }))
            {
                self.missing.remove(&partition);
                self.step_down(partition, &SteppedDown::Lost { confirmed });
            }
        }
    }
}

/// Asks the log, which may take its time.
struct Look<A> {
    log: Arc<dyn EventLog>,
    asked: Vec<(Partition, Folded)>,
    sender: Sender<Event<A>>,
}

impl<A: Aggregate> Work for Look<A> {
    fn step(&mut self, _: Duration) -> Next {
        let ask = |(partition, folded): &(Partition, Folded)| match folded.stands(&*self.log, *partition) {
            Ok(there) => Some((*partition, folded.checkpoint.next, there || mutant("owner-look"))),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, %partition, "the log does not say what it has");
                None
            }
        };
        let found = self.asked.iter().filter_map(ask).collect();
        if self.sender.send(Event::Looked(found)).is_err() {
            tracing::debug!("the lane has ended");
        }
        Next::Done
    }
}
