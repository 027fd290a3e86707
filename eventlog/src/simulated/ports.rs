//! The simulated log as everybody else sees it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use schemas::Topic;
use uuid::Uuid;

use super::{Flight, Inner, Line, SimulatedLog};
use crate::{
    AppendError, Appender, AssignmentSink, EventLog, LogError, Membership, Partition, Reader, Record, ReportSink,
    Stored,
};

impl EventLog for SimulatedLog {
    fn topic_id(&self, topic: &'static Topic) -> Result<Uuid, LogError> {
        let inner = self.0.lock();
        inner.available("asking for a topic")?;
        inner.ids.get(topic.name).copied().ok_or(LogError::NoTopic(topic.name))
    }

    fn end(&self, partition: Partition) -> Result<u64, LogError> {
        let inner = self.0.lock();
        inner.available("asking for the end")?;
        let part = inner.parts.get(&partition).ok_or(LogError::NoTopic(partition.topic.name))?;
        Ok(part.replicated())
    }

    fn appender(&self, sink: ReportSink) -> Result<Box<dyn Appender>, LogError> {
        let mut inner = self.0.lock();
        let number = inner.appenders;
        inner.appenders += 1;
        inner.sinks.insert(number, sink);
        Ok(Box::new(SimulatedAppender { log: Arc::clone(&self.0), number }))
    }

    fn reader(&self, from: &[(Partition, u64)]) -> Result<Box<dyn Reader>, LogError> {
        let inner = self.0.lock();
        inner.available("making a reader")?;
        let places = from.iter().map(|&(partition, next)| {
            let part = inner.parts.get(&partition).ok_or(LogError::NoTopic(partition.topic.name))?;
            Ok(Place { partition, next, cuts_seen: part.cuts() })
        });
        let places = places.collect::<Result<_, LogError>>()?;
        Ok(Box::new(SimulatedReader { log: Arc::clone(&self.0), places }))
    }

    fn join(
        &self,
        _group: &str,
        node: &str,
        _topics: &[&'static Topic],
        sink: AssignmentSink,
    ) -> Result<Box<dyn Membership>, LogError> {
        self.0.lock().members.insert(node.to_owned(), sink);
        Ok(Box::new(Member { log: Arc::clone(&self.0), node: node.to_owned() }))
    }
}

impl Inner {
    fn available(&self, doing: &str) -> Result<(), LogError> {
        if self.unavailable {
            return Err(unavailable(doing, "the log does not answer"));
        }
        Ok(())
    }
}

fn unavailable(doing: &str, detail: &str) -> LogError {
    LogError::Unavailable { doing: doing.to_owned(), detail: detail.to_owned() }
}

struct SimulatedAppender {
    log: Arc<Mutex<Inner>>,
    number: u64,
}

impl Appender for SimulatedAppender {
    fn append(&self, partition: Partition, record: &Record, token: u64) -> Result<(), AppendError> {
        let mut inner = self.log.lock();
        let line = Line { appender: self.number, partition };
        if inner.broken.iter().any(|broken| broken.appender == self.number) {
            return Err(AppendError { detail: "the appender has stopped".to_owned(), fatal: true });
        }
        inner.lines.entry(line).or_default().push_back(Flight { token, record: record.clone() });
        Ok(())
    }
}

impl Drop for SimulatedAppender {
    fn drop(&mut self) {
        self.log.lock().gone(self.number);
    }
}

struct SimulatedReader {
    log: Arc<Mutex<Inner>>,
    places: Vec<Place>,
}

struct Place {
    partition: Partition,
    next: u64,
    cuts_seen: usize,
}

impl Reader for SimulatedReader {
    /// Does not wait; but to whoever would, it says that the log does not answer, for nothing comes while they wait.
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError> {
        let inner = self.log.lock();
        inner.available("reading")?;
        let max = max.min(inner.batch_max);
        let mut found = Vec::new();
        for place in &mut self.places {
            let Some(part) = inner.parts.get(&place.partition) else { continue };
            if part.is_cut_before(place.next, place.cuts_seen) {
                return Err(match part.end() < place.next {
                    true => LogError::OutOfRange { partition: place.partition, offset: place.next },
                    false => unavailable("reading", "the log was truncated"),
                });
            }
            place.cuts_seen = part.cuts();
            let records = part.read(place.next, max - found.len());
            place.next += records.len() as u64;
            found.extend(records);
        }
        if found.is_empty() && !wait.is_zero() {
            return Err(unavailable("reading", "nothing arrives"));
        }
        Ok(found)
    }
}

struct Member {
    log: Arc<Mutex<Inner>>,
    node: String,
}

impl Membership for Member {}

impl Drop for Member {
    fn drop(&mut self) {
        self.log.lock().members.remove(&self.node);
    }
}
