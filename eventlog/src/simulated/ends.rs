//! One partition: what stands in it, how far it is replicated, and what it has forgotten.

use domain::Timestamp;

use crate::{Partition, Record, Stored};

#[derive(Default)]
pub(super) struct Part {
    records: Vec<Stored>,
    /// Who appended each of `records`; `None` for a copy.
    appenders: Vec<Option<u64>>,
    replicated: usize,
    /// Everything that was ever written.
    pub ever: Vec<Record>,
    /// Ends of each truncation, in their order.
    cuts: Vec<u64>,
    /// What the latest truncation took, from its end on.
    forgotten: Vec<Record>,
    /// Appenders in whose sequence something is missing.
    refused: Vec<u64>,
}

impl Part {
    pub fn end(&self) -> u64 {
        self.records.len() as u64
    }

    pub fn replicated(&self) -> u64 {
        self.replicated as u64
    }

    pub fn refuses(&self, appender: u64) -> bool {
        self.refused.contains(&appender)
    }

    pub fn write(&mut self, partition: Partition, record: Record, timestamp: Timestamp, appender: Option<u64>) -> u64 {
        let offset = self.end();
        // A log does not lose its end and grow again within a millisecond.
        let timestamp = Timestamp(timestamp.0 + self.cuts.len() as i64);
        self.ever.push(record.clone());
        self.records.push(Stored { partition, offset, timestamp, record, envelope: None, event: None });
        self.appenders.push(appender);
        offset
    }

    pub fn replicate(&mut self, until: u64) {
        self.replicated = self.replicated.max(index(until).min(self.records.len()));
    }

    /// What is replicated from `from` on, at most `max` records.
    pub fn read(&self, from: u64, max: usize) -> Vec<Stored> {
        let readable = &self.records[..self.replicated];
        readable.iter().skip(index(from)).take(max).cloned().collect()
    }

    pub fn truncate(&mut self, end: u64) {
        let end = index(end).min(self.records.len());
        for (offset, appender) in self.appenders.iter().enumerate().skip(end) {
            if let Some(appender) = appender
                && offset < self.replicated
                && self.appenders[..end].contains(&Some(*appender))
            {
                self.refused.push(*appender);
            }
        }
        self.forgotten = self.records.split_off(end).into_iter().map(|stored| stored.record).collect();
        self.appenders.truncate(end);
        self.replicated = self.replicated.min(end);
        self.cuts.push(end as u64);
    }

    /// The record that stood at `offset` before the latest truncation took it.
    pub fn forgotten(&self, offset: u64) -> Option<Record> {
        let end = *self.cuts.last()?;
        self.forgotten.get(index(offset.checked_sub(end)?)).cloned()
    }

    /// How many truncations there were.
    pub fn cuts(&self) -> usize {
        self.cuts.len()
    }

    /// Whether one since the first `seen` took something before `position`.
    pub fn is_cut_before(&self, position: u64, seen: usize) -> bool {
        self.cuts.iter().skip(seen).any(|end| *end < position)
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
