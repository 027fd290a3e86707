//! What owners in this process know to be in the log, for those who follow its end: it need not be fetched.
//!
//! An owner hands over each record that the log has confirmed, in order, with its headers and its event. While every
//! partition that is followed has its owner here, the [`super::pump`] lives on that; see there for what it trusts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::buffer::{Positions, weight};
use crate::{Partition, Stored};

/// Most bytes that wait to be taken; where they are more, following them goes on by reading.
const WAITING_MAX: usize = 16 << 20;
/// How far apart batches are at least, as when they are fetched (`fetch.wait.max.ms`): each is a commit of every view.
const GATHER: Duration = Duration::from_millis(10);

/// Where owners tell what they confirmed. Clones share.
#[derive(Clone, Default)]
pub struct Tap(Arc<Shared>);

#[derive(Default)]
struct Shared {
    flows: Mutex<Flows>,
    /// Something was told, or is kept no longer.
    changed: Condvar,
    drawn: AtomicBool,
}

#[derive(Default)]
struct Flows {
    /// Of each partition whose owner is here, the offset after what it told last.
    next: Positions,
    /// In the order in which they were told.
    records: Vec<Stored>,
    bytes: usize,
}

/// What the owner of one partition tells, as long as it owns it.
pub struct Flow {
    tap: Tap,
    partition: Partition,
}

impl Tap {
    /// The owner of `partition` tells every record of it from `next` on.
    #[must_use]
    pub fn open(&self, partition: Partition, next: u64) -> Flow {
        self.0.flows.lock().next.insert(partition, next);
        Flow { tap: self.clone(), partition }
    }

    /// From now on what is told is kept, if everything of `partitions` is told. Answers where they stand.
    pub(super) fn draw<'p>(&self, mut partitions: impl Iterator<Item = &'p Partition>) -> Option<Positions> {
        let flows = self.0.flows.lock();
        let told = partitions.all(|partition| flows.next.contains_key(partition));
        self.0.drawn.store(told, Ordering::Relaxed);
        told.then(|| flows.next.clone())
    }

    /// Nothing is kept from now on.
    pub(super) fn stop(&self) {
        let mut flows = self.0.flows.lock();
        self.0.stop(&mut flows);
    }

    /// What was told since it was asked at `last`, as soon as there is something, or after `wait`; `None` where it is kept no
    /// longer. Where nobody may wait it is not gathered.
    pub(super) fn take(&self, wait: Duration, last: Instant) -> Option<Vec<Stored>> {
        {
            let mut flows = self.0.flows.lock();
            if flows.records.is_empty() && self.is_drawn() {
                self.0.changed.wait_for(&mut flows, wait);
            }
            if flows.records.is_empty() {
                return self.is_drawn().then(Vec::new);
            }
        }
        sleep(GATHER.saturating_sub(last.elapsed()).min(wait));
        let mut flows = self.0.flows.lock();
        flows.bytes = 0;
        let records = std::mem::take(&mut flows.records);
        self.is_drawn().then_some(records)
    }

    pub(super) fn is_drawn(&self) -> bool {
        self.0.drawn.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn stop(&self, flows: &mut Flows) {
        self.drawn.store(false, Ordering::Relaxed);
        flows.records.clear();
        flows.bytes = 0;
        self.changed.notify_all();
    }
}

impl Flow {
    /// Whether somebody wants what is told now.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.tap.is_drawn()
    }

    /// The log has confirmed `stored`, the next record of the partition or one behind records of others.
    pub fn tell(&self, stored: Stored) {
        let shared = &self.tap.0;
        let mut flows = shared.flows.lock();
        flows.next.insert(self.partition, stored.offset + 1);
        if !self.is_drawn() {
            return;
        }
        flows.bytes += weight(&stored);
        if flows.bytes > WAITING_MAX {
            return shared.stop(&mut flows);
        }
        flows.records.push(stored);
        if flows.records.len() == 1 {
            shared.changed.notify_all();
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        let shared = &self.tap.0;
        let mut flows = shared.flows.lock();
        flows.next.remove(&self.partition);
        shared.stop(&mut flows);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("drawn", &self.is_drawn()).finish_non_exhaustive()
    }
}
