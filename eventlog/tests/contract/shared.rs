//! Readers that share one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lonja_eventlog::shared::{Flow, SharedLog, Tap};
use lonja_eventlog::{
    Appender, AssignmentSink, EventLog, LogError, Membership, PAYLOAD_BYTES_MAX, Partition, Reader, Record, ReportSink,
    Stored,
};
use schemas::Topic;
use schemas::topics::STOCK;
use uuid::Uuid;

use crate::homes::{Cluster, Directory, Home};
use crate::records::{PATIENCE, append, decision, partition, read, records, term};

const STOCK_0: Partition = Partition { topic: &STOCK, number: 0 };

/// A log that counts its open readers, and whose readers fail while it is broken.
struct Watched {
    log: Box<dyn EventLog>,
    open: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

struct WatchedReader {
    reader: Box<dyn Reader>,
    open: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl Reader for WatchedReader {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Stored>, LogError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(LogError::Unavailable { doing: "reading".into(), detail: "it is broken".into() });
        }
        self.reader.poll(max, wait)
    }
}

impl Drop for WatchedReader {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl EventLog for Watched {
    fn topic_id(&self, topic: &'static Topic) -> Result<Uuid, LogError> {
        self.log.topic_id(topic)
    }

    fn end(&self, partition: Partition) -> Result<u64, LogError> {
        self.log.end(partition)
    }

    fn appender(&self, sink: ReportSink) -> Result<Box<dyn Appender>, LogError> {
        self.log.appender(sink)
    }

    fn reader(&self, from: &[(Partition, u64)]) -> Result<Box<dyn Reader>, LogError> {
        let reader = self.log.reader(from)?;
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(WatchedReader { reader, open: Arc::clone(&self.open), broken: Arc::clone(&self.broken) }))
    }

    fn record(&self, partition: Partition, offset: u64) -> Result<Option<Stored>, LogError> {
        self.log.record(partition, offset)
    }

    fn join(
        &self,
        group: &str,
        node: &str,
        topics: &[&'static Topic],
        sink: AssignmentSink,
    ) -> Result<Box<dyn Membership>, LogError> {
        self.log.join(group, node, topics, sink)
    }
}

/// A shared log with what is watched of the one below.
struct Scene {
    log: SharedLog,
    tap: Tap,
    open: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl Scene {
    fn new(home: &impl Home) -> Self {
        let (open, broken, tap) = (Arc::default(), Arc::default(), Tap::default());
        let watched = Watched { log: home.open(), open: Arc::clone(&open), broken: Arc::clone(&broken) };
        let log = SharedLog::new(Arc::new(watched), Box::new(|_, _| None), tap.clone());
        Self { log, tap, open, broken }
    }

    /// Polls `reader`, which has nothing to read, until only `count` readers of the log below are open.
    fn settle(&self, readers: &mut [Box<dyn Reader>], count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.open.load(Ordering::SeqCst) != count {
            assert!(Instant::now() < deadline, "{} readers are open", self.open.load(Ordering::SeqCst));
            for reader in &mut *readers {
                assert_eq!(reader.poll(10, Duration::from_millis(20)).unwrap(), []);
            }
        }
    }
}

/// Appends, and tells what was appended, as an owner does.
fn append_and_tell(scene: &Scene, flow: &Flow, place: Partition, from: u64, all: &[Record]) {
    append(&scene.log, place, all);
    for offset in from..from + all.len() as u64 {
        flow.tell(scene.log.record(place, offset).unwrap().unwrap());
    }
}

/// Two followers of a log with 3 records, all of whose partitions have their owner here, and nobody fetches any more.
fn told(home: &impl Home) -> (Scene, Vec<Box<dyn Reader>>, [Flow; 2]) {
    let scene = Scene::new(home);
    append(&scene.log, partition(0), &records(3));
    let mut readers = vec![
        scene.log.reader(&[(partition(0), 3), (partition(1), 0)]).unwrap(),
        scene.log.reader(&[(partition(0), 3)]).unwrap(),
    ];
    scene.settle(&mut readers, 1);
    let flows = [(partition(0), 3), (partition(1), 0)].map(|(place, next)| scene.tap.open(place, next));
    scene.settle(&mut readers, 0);
    (scene, readers, flows)
}

fn what_owners_tell_is_not_fetched(home: &impl Home) {
    let (scene, mut readers, [first, second]) = told(home);
    append_and_tell(&scene, &first, partition(0), 3, &records(40));
    append_and_tell(&scene, &second, partition(1), 0, &records(20));
    let (both, one) = ((3..43).collect::<Vec<_>>(), (0..20).collect());
    assert_eq!(offsets(&read(readers[0].as_mut(), 60)), [(partition(0), both.clone()), (partition(1), one)].into());
    assert_eq!(offsets(&read(readers[1].as_mut(), 40)), [(partition(0), both)].into());
    assert_eq!(scene.open.load(Ordering::SeqCst), 0);
    // An owner ends, and who follows reads on.
    drop(second);
    append(&scene.log, partition(1), &records(2));
    assert_eq!(offsets(&read(readers[0].as_mut(), 2)), [(partition(1), vec![20, 21])].into());
    append_and_tell(&scene, &first, partition(0), 43, &records(2));
    assert_eq!(offsets(&read(readers[1].as_mut(), 2)), [(partition(0), vec![43, 44])].into());
    scene.settle(&mut readers, 1);
}

fn what_others_write_is_fetched_all_the_same(home: &impl Home) {
    let (scene, mut readers, [first, _second]) = told(home);
    append(&scene.log, partition(0), &records(2));
    assert_eq!(offsets(&read(readers[1].as_mut(), 2)), [(partition(0), vec![3, 4])].into());
    scene.settle(&mut readers[1..], 0);
    append(&scene.log, partition(0), &records(1));
    append_and_tell(&scene, &first, partition(0), 6, &records(1));
    assert_eq!(offsets(&read(readers[1].as_mut(), 2)), [(partition(0), vec![5, 6])].into());
    assert_eq!(offsets(&read(readers[0].as_mut(), 4)), [(partition(0), vec![3, 4, 5, 6])].into());
}

fn what_was_told_and_is_not_in_the_log_is_noticed(home: &impl Home) {
    for stands in [false, true] {
        let (scene, mut readers, [first, second]) = told(home);
        append(&scene.log, partition(1), &records(1));
        let lost = Stored { partition: partition(0), offset: 3, ..scene.log.record(partition(1), 0).unwrap().unwrap() };
        first.tell(lost);
        assert_eq!(read(readers[1].as_mut(), 1).len(), 1);
        if stands {
            append(&scene.log, partition(0), &records(2));
        }
        drop((first, second));
        let deadline = Instant::now() + PATIENCE;
        let error = loop {
            match readers[1].poll(10, Duration::from_millis(50)) {
                Ok(more) => assert!(more.is_empty() && Instant::now() < deadline, "{more:?}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, LogError::Unavailable { .. } | LogError::OutOfRange { .. }), "{error}");
        drop((readers, scene));
        home.replace();
    }
}

fn offsets(stored: &[Stored]) -> BTreeMap<Partition, Vec<u64>> {
    let mut offsets: BTreeMap<Partition, Vec<u64>> = BTreeMap::new();
    stored.iter().for_each(|stored| offsets.entry(stored.partition).or_default().push(stored.offset));
    offsets
}

fn readers_near_the_end_share_one(home: &impl Home) {
    let scene = Scene::new(home);
    append(&scene.log, partition(0), &records(5));
    let from_order = [(partition(0), 5), (partition(1), 0)];
    let mut readers = vec![
        scene.log.reader(&from_order).unwrap(),
        scene.log.reader(&[(partition(1), 0), (STOCK_0, 0)]).unwrap(),
        scene.log.reader(&from_order).unwrap(),
    ];
    scene.settle(&mut readers, 1);
    for place in [partition(0), partition(1), STOCK_0] {
        append(&scene.log, place, &records(50));
    }
    let expected =
        |place: Partition| if place == partition(0) { (5..55).collect() } else { (0..50).collect::<Vec<u64>>() };
    for (reader, places) in
        readers.iter_mut().zip([[partition(0), partition(1)], [partition(1), STOCK_0], [partition(0), partition(1)]])
    {
        let read = offsets(&read(reader.as_mut(), 100));
        assert_eq!(read, places.map(|place| (place, expected(place))).into());
    }
    assert_eq!(scene.open.load(Ordering::SeqCst), 1);
    drop(readers);
    assert_eq!(scene.open.load(Ordering::SeqCst), 0, "the last one that leaves waits for the shared reader");
}

fn who_falls_behind_reads_alone_and_joins_again(home: &impl Home) {
    const LARGE: u64 = 40;
    let scene = Scene::new(home);
    let mut readers =
        vec![scene.log.reader(&[(partition(0), 0)]).unwrap(), scene.log.reader(&[(partition(0), 0)]).unwrap()];
    scene.settle(&mut readers, 1);
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES_MAX]);
    let large: Vec<Record> =
        (1..=LARGE).map(|sequence| Record { payload: payload.clone(), ..decision(term(1), sequence) }).collect();
    for record in &large {
        append(&scene.log, partition(0), std::slice::from_ref(record));
        assert_eq!(read(readers[0].as_mut(), 1)[0].record, *record);
    }
    let late = read(readers[1].as_mut(), large.len());
    assert!(late.iter().map(|stored| &stored.record).eq(&large), "nothing is missing and nothing comes twice");
    scene.settle(&mut readers, 1);
}

fn a_shared_reader_that_fails_loses_nothing(home: &impl Home) {
    let scene = Scene::new(home);
    let mut readers =
        vec![scene.log.reader(&[(partition(0), 0)]).unwrap(), scene.log.reader(&[(partition(0), 0)]).unwrap()];
    scene.settle(&mut readers, 1);
    scene.broken.store(true, Ordering::SeqCst);
    for reader in &mut readers {
        let deadline = Instant::now() + PATIENCE;
        let error = loop {
            match reader.poll(10, Duration::from_millis(50)) {
                Ok(nothing) => assert!(nothing.is_empty() && Instant::now() < deadline, "{nothing:?}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, LogError::Unavailable { .. }), "{error}");
    }
    append(&scene.log, partition(0), &records(3));
    scene.broken.store(false, Ordering::SeqCst);
    for reader in &mut readers {
        assert_eq!(offsets(&read(reader.as_mut(), 3)), [(partition(0), vec![0, 1, 2])].into());
    }
    scene.settle(&mut readers, 1);
}

macro_rules! on_both {
    ($($name:ident)*) => {
        mod over_embedded {
            $(#[test] fn $name() { super::$name(&super::Directory::new()) })*
        }
        mod over_kafka {
            $(#[test] fn $name() { super::$name(&super::Cluster::new()) })*
        }
    };
}

on_both! {
    readers_near_the_end_share_one
    who_falls_behind_reads_alone_and_joins_again
    a_shared_reader_that_fails_loses_nothing
    what_owners_tell_is_not_fetched
    what_others_write_is_fetched_all_the_same
    what_was_told_and_is_not_in_the_log_is_noticed
}
