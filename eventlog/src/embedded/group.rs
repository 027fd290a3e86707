//! Groups of owners in a log that one process has: a single member, which gets everything at once.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::Topic;

use super::unavailable;
use crate::{Assignment, AssignmentSink, LogError, Membership, Partition};

type Seat = (String, &'static str);

/// Who owns what.
#[derive(Default)]
pub(super) struct Groups {
    /// Topics that have a member, by group.
    taken: Arc<Mutex<HashSet<Seat>>>,
}

impl Groups {
    pub(super) fn join(
        &self,
        group: &str,
        node: &str,
        topics: &[&'static Topic],
        sink: AssignmentSink,
    ) -> Result<Box<dyn Membership>, LogError> {
        let seats: Vec<Seat> = topics.iter().map(|topic| (group.to_owned(), topic.name)).collect();
        let mut taken = self.taken.lock();
        if let Some((_, topic)) = seats.iter().find(|seat| taken.contains(*seat)) {
            let detail = format!("{topic} has a member already, and an embedded log has one per group");
            return Err(unavailable(&format!("joining group {group} as {node}"), &detail));
        }
        taken.extend(seats.iter().cloned());
        drop(taken);
        let member = Member { taken: Arc::clone(&self.taken), seats };
        let partitions = topics.iter().flat_map(|topic| Partition::all(topic)).collect();
        std::thread::Builder::new()
            .name("log-join".to_owned())
            .spawn(move || sink(Assignment::Assigned(partitions)))
            .map_err(|error| unavailable("starting a thread", &error.to_string()))?;
        Ok(Box::new(member))
    }
}

struct Member {
    taken: Arc<Mutex<HashSet<Seat>>>,
    seats: Vec<Seat>,
}

impl Membership for Member {}

impl Drop for Member {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        for seat in &self.seats {
            taken.remove(seat);
        }
    }
}
