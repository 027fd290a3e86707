//! Reads what is durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Store, describe, frame, unavailable};
use crate::{LogError, Partition, Reader, Stored};

pub(super) struct EmbeddedReader {
    store: Arc<Store>,
    /// Each partition with the offset of its next record.
    positions: Vec<(Partition, u64)>,
    /// Where the next round begins, so that a busy partition does not starve the others.
    first: usize,
}

impl EmbeddedReader {
    pub(super) fn new(store: Arc<Store>, from: &[(Partition, u64)]) -> Result<Self, LogError> {
        for &(partition, offset) in from {
            if offset > store.end(partition)? {
                return Err(LogError::OutOfRange { partition, offset });
            }
        }
        Ok(Self { store, positions: from.to_vec(), first: 0 })
    }

    /// What is there now, at most `max` records.
    fn read(&mut self, max: usize) -> Result<Vec<Stored>, LogError> {
        let (mut batch, mut reached) = (Vec::new(), Vec::new());
        let count = self.positions.len();
        for at in 0..count {
            let at = (self.first + at) % count;
            let (partition, next) = self.positions[at];
            let end = self.store.end(partition)?.min(next.saturating_add((max - batch.len()) as u64));
            if next < end {
                scan(&self.store, partition, next, end, &mut batch)?;
                reached.push((at, end));
            }
            if batch.len() >= max {
                break;
            }
        }
        // Only now, so that after an error nothing has been passed over.
        for (at, end) in reached {
            self.positions[at].1 = end;
        }
        self.first = (self.first + 1) % count.max(1);
        Ok(batch)
    }
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError> {
        let deadline = Instant::now() + wait;
        loop {
            let seen = self.store.growth();
            let batch = self.read(max)?;
            if !batch.is_empty() || max == 0 || !self.store.wait_for_growth(seen, deadline) {
                return Ok(batch);
            }
        }
    }
}

/// Reads the records of `partition` from `next` up to `end`, all of which must be there.
fn scan(store: &Store, partition: Partition, next: u64, end: u64, into: &mut Vec<Stored>) -> Result<(), LogError> {
    let failed = |error: fjall::Error| unavailable(&format!("reading {partition}"), &describe(&error));
    let range = frame::key(partition.number, next)..frame::key(partition.number, end);
    let mut expected = next;
    for entry in store.topic(partition.topic)?.keyspace.range(range) {
        let (key, value) = entry.into_inner().map_err(failed)?;
        if frame::offset(&key) != Some(expected) {
            break;
        }
        into.push(frame::decode(partition, expected, &value)?);
        expected += 1;
    }
    if expected < end {
        return Err(LogError::Damaged(format!(
            "{partition} ends at {} but has no record {expected}",
            store.end(partition)?
        )));
    }
    Ok(())
}
