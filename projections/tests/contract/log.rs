//! A log in memory that can lose its tail.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use eventlog::{
    Appender, AssignmentSink, EventLog, LogError, Membership, Partition, Reader, Record, ReportSink, Stored,
};
use parking_lot::Mutex;
use schemas::Topic;
use uuid::Uuid;

/// How long a reader sleeps before it looks again.
const NAP: Duration = Duration::from_millis(1);

/// Its clock.
pub fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(now.as_millis().try_into().unwrap())
}

/// The log. Clones share.
#[derive(Clone, Default)]
pub struct MemoryLog(Arc<Mutex<Content>>);

#[derive(Default)]
struct Content {
    topic_id: Uuid,
    partitions: HashMap<Partition, Vec<Stored>>,
    unavailable: bool,
}

impl MemoryLog {
    /// Appends one record and says where it stands.
    pub fn append(&self, partition: Partition, record: Record) -> u64 {
        let mut content = self.0.lock();
        let records = content.partitions.entry(partition).or_default();
        let offset = records.len() as u64;
        records.push(Stored { partition, offset, timestamp: now(), record, envelope: None, event: None });
        offset
    }

    /// Everything in `partition`.
    pub fn records(&self, partition: Partition) -> Vec<Stored> {
        self.0.lock().partitions.get(&partition).cloned().unwrap_or_default()
    }

    /// Loses the last record of `partition`.
    pub fn lose_last(&self, partition: Partition) -> Record {
        self.0.lock().partitions.get_mut(&partition).unwrap().pop().unwrap().record
    }

    /// Is another log from now on, with the same records.
    pub fn become_another(&self) {
        self.0.lock().topic_id = Uuid::new_v4();
    }

    /// Whether it answers.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.0.lock().unavailable = unavailable;
    }

    /// The offset after the last record of each partition that has any.
    pub fn ends(&self) -> Vec<(Partition, u64)> {
        let content = self.0.lock();
        content.partitions.iter().map(|(partition, records)| (*partition, records.len() as u64)).collect()
    }
}

impl Content {
    fn check(&self) -> Result<(), LogError> {
        let unavailable =
            LogError::Unavailable { doing: "asking the log".to_owned(), detail: "the test says so".to_owned() };
        if self.unavailable { Err(unavailable) } else { Ok(()) }
    }
}

impl EventLog for MemoryLog {
    fn topic_id(&self, _: &'static Topic) -> Result<Uuid, LogError> {
        let content = self.0.lock();
        content.check()?;
        Ok(content.topic_id)
    }

    fn end(&self, partition: Partition) -> Result<u64, LogError> {
        let content = self.0.lock();
        content.check()?;
        Ok(content.partitions.get(&partition).map_or(0, |records| records.len() as u64))
    }

    fn appender(&self, _: ReportSink) -> Result<Box<dyn Appender>, LogError> {
        Err(LogError::Mismatch("these tests append directly".to_owned()))
    }

    fn reader(&self, from: &[(Partition, u64)]) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(MemoryReader { log: self.clone(), at: from.to_vec() }))
    }

    fn join(&self, _: &str, _: &str, _: &[&'static Topic], _: AssignmentSink) -> Result<Box<dyn Membership>, LogError> {
        Err(LogError::Mismatch("these tests own nothing".to_owned()))
    }
}

struct MemoryReader {
    log: MemoryLog,
    at: Vec<(Partition, u64)>,
}

impl MemoryReader {
    fn take(&mut self, max: usize) -> Result<Vec<Stored>, LogError> {
        let content = self.log.0.lock();
        content.check()?;
        let mut taken = Vec::new();
        for (partition, at) in &mut self.at {
            let records = content.partitions.get(partition).map_or(&[][..], Vec::as_slice);
            let from = usize::try_from(*at).unwrap().min(records.len());
            let some = &records[from..records.len().min(from + max - taken.len())];
            taken.extend_from_slice(some);
            *at += some.len() as u64;
        }
        // The partition that came first is the last one next time.
        self.at.rotate_left(1);
        Ok(taken)
    }
}

impl Reader for MemoryReader {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError> {
        let deadline = Instant::now() + wait;
        loop {
            let taken = self.take(max)?;
            if !taken.is_empty() || Instant::now() >= deadline {
                return Ok(taken);
            }
            std::thread::sleep(NAP);
        }
    }
}
