//! The look at the log, once a second.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use eventlog::fault::mutant;
use eventlog::{EventLog, Partition};

use super::Event;
use crate::outside::{Next, Work};
use crate::states::Folded;

/// Asks the log, which may take its time.
pub(super) struct Look<A> {
    pub log: Arc<dyn EventLog>,
    pub asked: Vec<(Partition, Folded)>,
    pub sender: Sender<Event<A>>,
}

impl<A: crate::Aggregate> Work for Look<A> {
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
