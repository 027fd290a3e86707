//! A log in memory that does nothing by itself: whoever simulates says when an append lands, when it counts as replicated,
//! what its appender is told and when, and when the log forgets its end. It has no chance and no clock of its own.
//!
//! It behaves as Kafka does: readers see what is replicated and no more; an appender hears of a full success only of what is
//! replicated; what is lost before that is sent again in the old order, unless its appender is gone; an appender some of
//! whose acknowledged records are lost is refused from then on while older ones of it are left (the broker misses numbers in
//! its sequence); a reader beyond a lost end is told so.

mod ends;
mod ports;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use domain::Timestamp;
use parking_lot::Mutex;
use schemas::Topic;
use uuid::Uuid;

use self::ends::Part;
use crate::{AppendError, Appended, Assignment, AssignmentSink, Partition, Record, Report, ReportSink, Stored};

/// The log. Clones share.
#[derive(Clone)]
pub struct SimulatedLog(Arc<Mutex<Inner>>);

/// The appends of one appender to one partition that have not landed, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Which appender, counted from 0.
    pub appender: u64,
    /// Which partition.
    pub partition: Partition,
}

/// What becomes of the first append of a [`Line`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It lands, so many times in a row.
    Lands(u32),
    /// It is lost, and with it whatever is behind it.
    Fails,
    /// It is lost, but what is behind it is not.
    LeavesAHole,
}

/// An append whose appender has not heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unheard {
    /// Whose, and where.
    pub line: Line,
    /// Its place in the line, as the appender named it.
    pub token: u64,
    /// It stands in the log and is replicated.
    pub replicated: bool,
    /// It is lost.
    pub lost: bool,
}

/// What an appender is told of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Offset and time, of what is replicated; what else an error is said of.
    InFull,
    /// That it stands in the log, but not where.
    NoOffset,
    /// That it failed, whatever is so.
    Failed {
        /// And that the appender is of no use any more.
        fatal: bool,
    },
}

struct Inner {
    now: Box<dyn Fn() -> Timestamp + Send>,
    ids: BTreeMap<&'static str, Uuid>,
    parts: BTreeMap<Partition, Part>,
    appenders: u64,
    /// Of appenders that are not gone.
    sinks: BTreeMap<u64, ReportSink>,
    lines: BTreeMap<Line, VecDeque<Flight>>,
    /// Lines of which nothing lands any more.
    broken: Vec<Line>,
    unheard: Vec<Sent>,
    members: BTreeMap<String, AssignmentSink>,
    unavailable: bool,
    batch_max: usize,
}

struct Flight {
    token: u64,
    record: Record,
}

struct Sent {
    line: Line,
    token: u64,
    /// `None` when it is lost.
    offset: Option<u64>,
}

impl SimulatedLog {
    /// An empty log of `topics`, each with its id. `now` is the log's clock.
    #[must_use]
    pub fn new(topics: &[(&'static Topic, Uuid)], now: impl Fn() -> Timestamp + Send + 'static) -> Self {
        let parts = topics.iter().flat_map(|(topic, _)| Partition::all(topic)).map(|p| (p, Part::default())).collect();
        Self(Arc::new(Mutex::new(Inner {
            now: Box::new(now),
            ids: topics.iter().map(|(topic, id)| (topic.name, *id)).collect(),
            parts,
            appenders: 0,
            sinks: BTreeMap::new(),
            lines: BTreeMap::new(),
            broken: Vec::new(),
            unheard: Vec::new(),
            members: BTreeMap::new(),
            unavailable: false,
            batch_max: usize::MAX,
        })))
    }

    /// While it is unavailable nobody can ask or read it. What is appended waits.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.0.lock().unavailable = unavailable;
    }

    /// No reader gets more records at a time.
    pub fn set_batch_max(&self, records: usize) {
        self.0.lock().batch_max = records.max(1);
    }

    /// Lines in which something waits.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.0.lock().lines.keys().copied().collect()
    }

    /// Decides about the first append of `line`.
    pub fn land(&self, line: Line, fate: Fate) {
        let mut inner = self.0.lock();
        let Some(flight) = inner.take_first(line) else { return };
        let refused = inner.parts.get(&line.partition).is_some_and(|part| part.refuses(line.appender));
        let fate = if refused || inner.broken.contains(&line) { Fate::Fails } else { fate };
        let offset = match fate {
            Fate::Lands(times) => {
                let offset = inner.write(line.partition, &flight.record, Some(line.appender));
                for _ in 1..times {
                    inner.write(line.partition, &flight.record, None);
                }
                Some(offset)
            }
            Fate::Fails => {
                inner.broken.push(line);
                None
            }
            Fate::LeavesAHole => None,
        };
        if inner.sinks.contains_key(&line.appender) {
            inner.unheard.push(Sent { line, token: flight.token, offset });
        }
    }

    /// The first append of `line` is forgotten: its appender is gone, and it never lands.
    pub fn forget(&self, line: Line) {
        self.0.lock().take_first(line);
    }

    /// Whether the appender of `line` still lives.
    #[must_use]
    pub fn is_alive(&self, line: Line) -> bool {
        self.0.lock().sinks.contains_key(&line.appender)
    }

    /// Lands a late copy of a record that stands, or stood, in `partition`: the `index`th that was ever written there.
    pub fn copy(&self, partition: Partition, index: usize) {
        let mut inner = self.0.lock();
        let record = inner.parts.get(&partition).and_then(|part| part.ever.get(index).cloned());
        if let Some(record) = record {
            inner.write(partition, &record, None);
        }
    }

    /// Everything that was ever written to `partition`, also what it has forgotten.
    #[must_use]
    pub fn history(&self, partition: Partition) -> Vec<Record> {
        self.0.lock().parts.get(&partition).map_or_else(Vec::new, |part| part.ever.clone())
    }

    /// Where `partition` ends, and before which offset everything is replicated.
    #[must_use]
    pub fn ends(&self, partition: Partition) -> (u64, u64) {
        self.0.lock().parts.get(&partition).map_or((0, 0), |part| (part.end(), part.replicated()))
    }

    /// Everything before `until` is replicated.
    pub fn replicate(&self, partition: Partition, until: u64) {
        if let Some(part) = self.0.lock().parts.get_mut(&partition) {
            part.replicate(until);
        }
    }

    /// What is replicated, from `from` on.
    #[must_use]
    pub fn replicated(&self, partition: Partition, from: u64) -> Vec<Stored> {
        self.0.lock().parts.get(&partition).map_or_else(Vec::new, |part| part.read(from, usize::MAX))
    }

    /// The log forgets everything from `end` on, also if it was replicated.
    pub fn truncate(&self, partition: Partition, end: u64) {
        let mut inner = self.0.lock();
        let Some(part) = inner.parts.get_mut(&partition) else { return };
        part.truncate(end);
        // Latest first, so that they stand in their old order at the front of their lines.
        for at in (0..inner.unheard.len()).rev() {
            let Sent { line, token, offset } = inner.unheard[at];
            let Some(record) = offset
                .filter(|offset| line.partition == partition && *offset >= end)
                .and_then(|offset| inner.parts.get(&partition)?.forgotten(offset))
            else {
                continue;
            };
            inner.unheard.remove(at);
            inner.lines.entry(line).or_default().push_front(Flight { token, record });
        }
    }

    /// Appends of which their appenders have not heard, oldest first.
    #[must_use]
    pub fn unheard(&self) -> Vec<Unheard> {
        let inner = self.0.lock();
        let unheard = |sent: &Sent| {
            let replicated = inner.parts.get(&sent.line.partition).map_or(0, Part::replicated);
            Unheard {
                line: sent.line,
                token: sent.token,
                replicated: sent.offset.is_some_and(|offset| offset < replicated),
                lost: sent.offset.is_none(),
            }
        };
        inner.unheard.iter().map(unheard).collect()
    }

    /// Tells the appender of the `index`th of [`Self::unheard`].
    pub fn report(&self, index: usize, word: Word) {
        let (sink, report) = {
            let mut inner = self.0.lock();
            if index >= inner.unheard.len() {
                return;
            }
            let Sent { line, token, offset } = inner.unheard.remove(index);
            let part = inner.parts.get(&line.partition);
            let stored = offset.and_then(|offset| part?.read(offset, 1).pop());
            let failed = |fatal| Err(AppendError { detail: "the log says that it failed".to_owned(), fatal });
            let outcome = match (word, stored) {
                (Word::InFull, Some(stored)) => {
                    Ok(Appended { offset: Some(stored.offset), timestamp: stored.timestamp })
                }
                (Word::NoOffset, Some(stored)) => Ok(Appended { offset: None, timestamp: stored.timestamp }),
                (Word::Failed { fatal }, _) => failed(fatal),
                (_, None) => failed(true),
            };
            let sink = inner.sinks.get(&line.appender).cloned();
            (sink, Report { partition: line.partition, token, outcome })
        };
        if let Some(sink) = sink {
            sink(report);
        }
    }

    /// Tells a member of a group what changes. Nobody else is asked: two may own a partition at once.
    pub fn tell(&self, node: &str, change: Assignment) {
        if let Some(sink) = self.0.lock().members.get(node) {
            sink(change);
        }
    }
}

impl Inner {
    fn take_first(&mut self, line: Line) -> Option<Flight> {
        let waiting = self.lines.get_mut(&line)?;
        let first = waiting.pop_front();
        if waiting.is_empty() {
            self.lines.remove(&line);
        }
        first
    }

    fn write(&mut self, partition: Partition, record: &Record, appender: Option<u64>) -> u64 {
        let timestamp = (self.now)();
        self.parts.entry(partition).or_default().write(partition, record.clone(), timestamp, appender)
    }

    /// Nobody hears of the appends of `appender` any more.
    fn gone(&mut self, appender: u64) {
        self.sinks.remove(&appender);
        self.unheard.retain(|sent| sent.line.appender != appender);
    }
}
