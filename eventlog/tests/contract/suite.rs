//! Appending, reading, membership.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::unbounded;
use lonja_eventlog::{Appended, Assignment, LogError, PAYLOAD_BYTES_MAX, Partition, Record};
use schemas::topics::{ORDER, STOCK};

use crate::homes::Home;
use crate::records::{PATIENCE, append, appender, decision, partition, read, read_from, records, term};

pub fn offsets_are_contiguous_and_reported_in_order(home: &impl Home) {
    let log = home.open();
    assert_eq!(log.end(partition(3)).unwrap(), 0);
    // `append` checks the order of the reports.
    let offsets = |appended: Vec<Appended>| appended.iter().map(|a| a.offset.unwrap()).collect::<Vec<_>>();
    assert_eq!(offsets(append(&*log, partition(3), &records(500))), (0..500).collect::<Vec<_>>());
    assert_eq!(log.end(partition(3)).unwrap(), 500);
    assert_eq!(offsets(append(&*log, partition(3), &records(3))), [500, 501, 502]);
    assert_eq!(log.end(partition(3)).unwrap(), 503);
    assert_eq!(log.end(partition(4)).unwrap(), 0);
}

pub fn a_reader_sees_the_same_bytes_from_any_offset(home: &impl Home) {
    let log = home.open();
    let mut sent = records(50);
    sent.push(crate::records::foreign());
    let appended = append(&*log, partition(0), &sent);
    for from in [0, 1, 37, 50] {
        let stored = read_from(&*log, partition(0), from, 51 - usize::try_from(from).unwrap());
        for (stored, offset) in stored.iter().zip(from..) {
            let at = usize::try_from(offset).unwrap();
            assert_eq!((stored.partition, stored.offset), (partition(0), offset));
            assert_eq!(stored.record, sent[at]);
            assert_eq!(stored.timestamp, appended[at].timestamp, "the reported time is the log's time");
        }
    }
}

pub fn a_single_record_is_found_at_its_offset(home: &impl Home) {
    let log = home.open();
    let sent = records(50);
    let appended = append(&*log, partition(0), &sent);
    append(&*log, partition(1), &records(3));
    for (place, offset) in [(0, 0), (0, 49), (1, 2), (0, 7), (0, 8), (0, 7)] {
        let stored = log.record(partition(place), offset).unwrap().unwrap();
        assert_eq!((stored.partition, stored.offset), (partition(place), offset));
        let at = usize::try_from(offset).unwrap();
        if place == 0 {
            assert_eq!((stored.record, stored.timestamp), (sent[at].clone(), appended[at].timestamp));
        }
    }
    assert_eq!(log.record(partition(0), 50).unwrap(), None);
    assert_eq!(log.record(partition(2), 0).unwrap(), None);
}

pub fn partitions_do_not_mix(home: &impl Home) {
    let log = home.open();
    let places = [partition(0), partition(11), Partition { topic: &STOCK, number: 0 }];
    let (appender, reports) = appender(&*log);
    for sequence in 0..100 {
        for place in places {
            appender.append(place, &decision(term(u64::from(place.number) + 1), sequence), sequence).unwrap();
        }
    }
    for _ in 0..300 {
        let report = reports.recv_timeout(PATIENCE).unwrap();
        assert_eq!(report.outcome.unwrap().offset, Some(report.token));
    }
    let from = [(places[0], 0), (places[1], 40), (places[2], 100)];
    let stored = read(log.reader(&from).unwrap().as_mut(), 160);
    for (place, start) in from {
        let offsets: Vec<u64> = stored.iter().filter(|s| s.partition == place).map(|s| s.offset).collect();
        assert_eq!(offsets, (start..100).collect::<Vec<_>>(), "{place}");
    }
}

pub fn a_reader_takes_what_it_is_allowed_and_waits_for_more(home: &impl Home) {
    let log = home.open();
    append(&*log, partition(0), &records(5));
    let mut reader = log.reader(&[(partition(0), 5), (partition(1), 0)]).unwrap();
    let begun = Instant::now();
    assert_eq!(reader.poll(10, Duration::from_millis(300)).unwrap(), []);
    assert!(begun.elapsed() >= Duration::from_millis(300), "it waits as long as it is told");
    let waiting = std::thread::spawn(move || {
        let stored = read(reader.as_mut(), 1);
        (stored, reader)
    });
    std::thread::sleep(Duration::from_millis(100));
    append(&*log, partition(1), &records(1));
    let (stored, mut reader) = waiting.join().unwrap();
    assert_eq!((stored[0].partition, stored[0].offset), (partition(1), 0));
    append(&*log, partition(1), &records(7));
    let mut offsets = Vec::new();
    while offsets.len() < 7 {
        let batch = reader.poll(2, PATIENCE).unwrap();
        assert!((1..=2).contains(&batch.len()), "{}", batch.len());
        offsets.extend(batch.iter().map(|stored| stored.offset));
    }
    assert_eq!(offsets, [1, 2, 3, 4, 5, 6, 7]);
}

pub fn a_position_after_the_end_is_out_of_range(home: &impl Home) {
    let log = home.open();
    append(&*log, partition(0), &records(5));
    let mut at_end = log.reader(&[(partition(0), 5)]).unwrap();
    assert_eq!(at_end.poll(10, Duration::from_millis(50)).unwrap(), []);
    // Some logs know at once, some when they read; each says it again when asked again.
    for _ in 0..2 {
        let asked = log.reader(&[(partition(0), 6)]).and_then(|mut reader| {
            assert!(reader.poll(10, PATIENCE).is_err());
            reader.poll(10, PATIENCE)
        });
        assert!(matches!(asked, Err(LogError::OutOfRange { partition: place, offset: 6 }) if place == partition(0)));
    }
}

pub fn every_append_of_many_appenders_is_reported_once(home: &impl Home) {
    const APPENDERS: u64 = 8;
    const EACH: u64 = 200;
    let log = home.open();
    let reported: Vec<BTreeSet<u64>> = std::thread::scope(|scope| {
        let log = &log;
        let threads: Vec<_> = (0..APPENDERS)
            .map(|number| {
                scope.spawn(move || {
                    let (appender, reports) = appender(&**log);
                    for sequence in 0..EACH {
                        appender.append(partition(2), &decision(term(number + 1), sequence), sequence).unwrap();
                    }
                    let reports = (0..EACH).map(|_| reports.recv_timeout(PATIENCE).unwrap());
                    let reports: Vec<_> = reports.map(|r| (r.token, r.outcome.unwrap().offset.unwrap())).collect();
                    assert!(reports.is_sorted(), "each appender's records keep their order");
                    assert!(reports.iter().map(|(token, _)| *token).eq(0..EACH));
                    reports.into_iter().map(|(_, offset)| offset).collect()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let offsets: BTreeSet<u64> = reported.into_iter().flatten().collect();
    assert!(offsets.into_iter().eq(0..APPENDERS * EACH), "no offset is given twice");
    assert_eq!(log.end(partition(2)).unwrap(), APPENDERS * EACH);
}

pub fn the_log_time_never_runs_backwards(home: &impl Home) {
    let log = home.open();
    let first = append(&*log, partition(0), &records(100));
    let second = append(&*log, partition(0), &records(100));
    let times: Vec<i64> = first.iter().chain(&second).map(|appended| appended.timestamp.0).collect();
    assert!(times.is_sorted());
    assert!(times[0] > 1_700_000_000_000, "it is the time of day, in milliseconds");
}

pub fn a_log_that_is_opened_again_is_the_same(home: &impl Home) {
    let log = home.open();
    let sent = records(20);
    let before = append(&*log, partition(5), &sent);
    let ids = [log.topic_id(&ORDER).unwrap(), log.topic_id(&STOCK).unwrap()];
    assert_ne!(ids[0], ids[1]);
    drop(log);
    let log = home.open();
    assert_eq!([log.topic_id(&ORDER).unwrap(), log.topic_id(&STOCK).unwrap()], ids);
    assert_eq!(log.end(partition(5)).unwrap(), 20);
    let stored: Vec<Record> = read_from(&*log, partition(5), 0, 20).into_iter().map(|stored| stored.record).collect();
    assert_eq!(stored, sent);
    let after = append(&*log, partition(5), &records(1));
    assert_eq!(after[0].offset, Some(20));
    assert!(after[0].timestamp >= before[19].timestamp);
}

pub fn the_largest_payload_fits(home: &impl Home) {
    let log = home.open();
    let large = Record { payload: Bytes::from(vec![0xa5; PAYLOAD_BYTES_MAX]), ..decision(term(1), 1) };
    append(&*log, partition(0), &[large.clone(), large.clone()]);
    let stored = read_from(&*log, partition(0), 0, 2);
    assert!(stored.into_iter().all(|stored| stored.record == large));
}

pub fn a_dropped_appender_does_not_hinder_the_next(home: &impl Home) {
    let log = home.open();
    append(&*log, partition(0), &records(1));
    let (dropped, _) = appender(&*log);
    for token in 0..1_000 {
        dropped.append(partition(0), &decision(term(1), token), token).unwrap();
    }
    let begun = Instant::now();
    drop(dropped);
    assert!(begun.elapsed() < Duration::from_millis(100), "dropping took {:?}", begun.elapsed());
    let offset = append(&*log, partition(0), &records(1))[0].offset.unwrap();
    assert!((1..=1_001).contains(&offset));
}

pub fn one_member_is_assigned_everything(home: &impl Home) {
    let log = home.open();
    let (sender, assignments) = unbounded();
    let sink = Box::new(move |assignment| {
        let _ = sender.send(assignment);
    });
    let begun = Instant::now();
    let member = log.join("owners", "node-1", &[&ORDER, &STOCK], sink).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "joining returns at once");
    let mut mine = BTreeSet::new();
    while mine.len() < 24 {
        match assignments.recv_timeout(PATIENCE).unwrap() {
            Assignment::Assigned(partitions) => {
                for partition in partitions {
                    assert!(mine.insert(partition), "{partition} was assigned twice");
                }
            }
            Assignment::Revoked(partitions) => panic!("{partitions:?} revoked"),
        }
    }
    assert!(mine.into_iter().eq(Partition::all(&ORDER).chain(Partition::all(&STOCK))));
    drop(member);
}
