//! A log in memory whose acknowledgements and assignments a test holds in its hand.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Timestamp;
use eventlog::{
    AppendError, Appended, Appender, Assignment, AssignmentSink, EventLog, LogError, Membership, Partition, Reader,
    Record, Report, ReportSink, Stored,
};
use parking_lot::{Condvar, Mutex};
use schemas::Topic;
use uuid::Uuid;

#[derive(Clone, Default)]
pub struct TestLog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    records: BTreeMap<Partition, Vec<Stored>>,
    members: HashMap<String, AssignmentSink>,
    holding: Option<Partition>,
    held: Vec<(ReportSink, Report)>,
    failing: usize,
}

impl TestLog {
    /// Appends a record of somebody else.
    pub fn plant(&self, partition: Partition, record: Record) -> u64 {
        let offset = self.0.inner.lock().push(partition, record);
        self.0.changed.notify_all();
        offset
    }

    /// Forgets everything, also what was acknowledged.
    pub fn lose(&self, partition: Partition) {
        self.0.inner.lock().records.remove(&partition);
    }

    /// Acknowledgements of a partition wait until they are released.
    pub fn hold_acknowledgements(&self, partition: Partition) {
        self.0.inner.lock().holding = Some(partition);
    }

    pub fn release_acknowledgements(&self) {
        let held = {
            let mut inner = self.0.inner.lock();
            inner.holding = None;
            std::mem::take(&mut inner.held)
        };
        held.into_iter().for_each(|(sink, report)| sink(report));
    }

    /// The next `count` appends land, but their acknowledgement is lost.
    pub fn lose_acknowledgements(&self, count: usize) {
        self.0.inner.lock().failing = count;
    }

    /// Assigns to one node without taking from another: there may be two believers.
    pub fn assign(&self, node: &str, partitions: &[Partition]) {
        self.tell(node, Assignment::Assigned(partitions.to_vec()));
    }

    pub fn revoke(&self, node: &str, partition: Partition) {
        self.tell(node, Assignment::Revoked(vec![partition]));
    }

    fn tell(&self, node: &str, assignment: Assignment) {
        self.0.inner.lock().members[node](assignment);
    }

    pub fn records(&self, partition: Partition) -> Vec<Stored> {
        self.0.inner.lock().records.get(&partition).cloned().unwrap_or_default()
    }

    /// Waits until the partition has `count` records.
    pub fn wait_for(&self, partition: Partition, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut inner = self.0.inner.lock();
        while inner.records.get(&partition).map_or(0, Vec::len) < count {
            assert!(!self.0.changed.wait_until(&mut inner, deadline).timed_out(), "{partition} never got {count}");
        }
    }
}

impl Inner {
    fn push(&mut self, partition: Partition, record: Record) -> u64 {
        let records = self.records.entry(partition).or_default();
        let offset = records.len() as u64;
        records.push(Stored {
            partition,
            offset,
            timestamp: Timestamp(i64::try_from(offset).unwrap()),
            record,
            envelope: None,
            event: None,
        });
        offset
    }
}

impl EventLog for TestLog {
    fn topic_id(&self, _: &'static Topic) -> Result<Uuid, LogError> {
        Ok(Uuid::nil())
    }

    fn end(&self, partition: Partition) -> Result<u64, LogError> {
        Ok(self.records(partition).len() as u64)
    }

    fn appender(&self, sink: ReportSink) -> Result<Box<dyn Appender>, LogError> {
        Ok(Box::new(TestAppender { shared: Arc::clone(&self.0), sink }))
    }

    fn reader(&self, from: &[(Partition, u64)]) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(TestReader { shared: Arc::clone(&self.0), next: from.to_vec() }))
    }

    fn join(
        &self,
        _: &str,
        node: &str,
        _: &[&'static Topic],
        sink: AssignmentSink,
    ) -> Result<Box<dyn Membership>, LogError> {
        self.0.inner.lock().members.insert(node.to_owned(), sink);
        Ok(Box::new(Member))
    }
}

struct Member;

impl Membership for Member {}

struct TestAppender {
    shared: Arc<Shared>,
    sink: ReportSink,
}

impl Appender for TestAppender {
    fn append(&self, partition: Partition, record: &Record, token: u64) -> Result<(), AppendError> {
        let mut inner = self.shared.inner.lock();
        let offset = inner.push(partition, record.clone());
        self.shared.changed.notify_all();
        let appended = Appended { offset: Some(offset), timestamp: Timestamp(i64::try_from(offset).unwrap()) };
        let outcome = if inner.failing > 0 {
            inner.failing -= 1;
            Err(AppendError { detail: "the acknowledgement was lost".into(), fatal: false })
        } else {
            Ok(appended)
        };
        let report = Report { partition, token, outcome };
        if inner.holding == Some(partition) {
            inner.held.push((Arc::clone(&self.sink), report));
        } else {
            drop(inner);
            (self.sink)(report);
        }
        Ok(())
    }
}

struct TestReader {
    shared: Arc<Shared>,
    next: Vec<(Partition, u64)>,
}

impl Reader for TestReader {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError> {
        let mut inner = self.shared.inner.lock();
        let mut found = Vec::new();
        for attempt in 0..2 {
            for (partition, next) in &mut self.next {
                let records = inner.records.get(partition).map_or(&[][..], Vec::as_slice);
                let from = usize::try_from(*next).unwrap();
                let batch = records.iter().skip(from).take(max.saturating_sub(found.len()));
                let before = found.len();
                found.extend(batch.cloned());
                *next += (found.len() - before) as u64;
            }
            if !found.is_empty() || attempt == 1 {
                break;
            }
            self.shared.changed.wait_for(&mut inner, wait);
        }
        Ok(found)
    }
}
