//! What only a log on disk can do wrong. Children are this test program, started again for one of its "tests".

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::bounded;
use lonja_eventlog::embedded::EmbeddedLog;
use lonja_eventlog::{EventLog, LogError, Partition, Record, Report};
use schemas::Topic;
use schemas::topics::{ALL, AUDIT, EMBEDDED, ORDER, STOCK};

use crate::homes::{Directory, Home};
use crate::records::{append, appender, decision, partition, read_from, records, term};

/// Names the directory to a child.
const CHILD: &str = "LONJA_TEST_CHILD_DIR";

fn child(test: &str, dir: &Path) -> Command {
    // A write past the limit on a file's size is to fail, not to kill.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    command.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, dir).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// What a child appends under `token`: some small, some large.
fn payload(token: u64) -> Bytes {
    let length = if token.is_multiple_of(97) { 40_000 } else { 8 + usize::try_from(token * 31 % 700).unwrap() };
    token.to_be_bytes().into_iter().cycle().take(length).collect()
}

/// Appends until it is killed, and prints each acknowledgement.
#[test]
fn child_that_appends_for_ever() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let log = EmbeddedLog::open(Path::new(&dir), ALL).unwrap();
    let (permits, returns) = bounded(64);
    let sink = Arc::new(move |Report { partition, token, outcome }: Report| {
        println!("acked {} {} {token}", partition.number, outcome.unwrap().offset.unwrap());
        returns.recv().unwrap();
    });
    let appender = log.appender(sink).unwrap();
    let mut token: u64 = Partition::all(&ORDER).map(|partition| log.end(partition).unwrap()).sum();
    println!("open");
    loop {
        permits.send(()).unwrap();
        let record = Record { payload: payload(token), ..decision(term(1), token) };
        appender.append(partition(u32::try_from(token % 12).unwrap()), &record, token).unwrap();
        token += 1;
    }
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap)
}

#[test]
fn acknowledged_appends_survive_kill_9() {
    const ROUNDS: usize = 4;
    const ACKS: usize = 1_500;
    let dir = tempfile::tempdir().unwrap();
    let mut acked: Vec<(u32, u64, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = child("embedded::child_that_appends_for_ever", dir.path()).spawn().unwrap();
        let mut lines = lines(&mut child);
        assert!(lines.by_ref().any(|line| line.ends_with("open")));
        if round == 0 {
            let error = EmbeddedLog::open(dir.path(), ALL).err().unwrap().to_string();
            assert!(error.contains("another process has it open"), "{error}");
        }
        let parse = |line: String| {
            let mut words = line.strip_prefix("acked ")?.split(' ').map(|word| word.parse::<u64>());
            let mut word = || words.next()?.ok();
            Some((u32::try_from(word()?).unwrap(), word()?, word()?))
        };
        acked.extend(lines.by_ref().filter_map(parse).take(ACKS));
        child.kill().unwrap();
        // What it printed before it died was acknowledged too; the very last line may be cut short.
        let mut rest: Vec<_> = lines.collect();
        rest.pop();
        acked.extend(rest.into_iter().filter_map(parse));
        child.wait().unwrap();
        assert!(acked.len() >= (round + 1) * ACKS);
    }
    let log = EmbeddedLog::open(dir.path(), ALL).unwrap();
    for partition in Partition::all(&ORDER) {
        let end = log.end(partition).unwrap();
        let stored = read_from(&log, partition, 0, usize::try_from(end).unwrap());
        for (number, offset, token) in acked.iter().filter(|(number, ..)| *number == partition.number) {
            assert!(*offset < end, "{number}@{offset} was acknowledged and is lost");
            assert_eq!(stored[usize::try_from(*offset).unwrap()].record.payload, payload(*token));
        }
    }
}

/// Appends until the disk refuses, and checks that nothing is acknowledged from then on.
#[test]
fn child_whose_disk_fails() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let log = EmbeddedLog::open(Path::new(&dir), ALL).unwrap();
    let (appender, reports) = appender(&log);
    let pid = std::process::id().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, "--fsize=300000"]).status().unwrap();
    assert!(limited.success());
    for token in 0..1_000 {
        appender.append(partition(0), &Record { payload: payload(97), ..decision(term(1), token) }, token).unwrap();
        let report = reports.recv().unwrap();
        match report.outcome {
            Ok(appended) => println!("acked {}", appended.offset.unwrap()),
            Err(error) => {
                assert!(error.fatal, "{error}");
                let refused = appender.append(partition(1), &decision(term(1), 0), 0).unwrap_err();
                assert!(refused.fatal, "{refused}");
                assert!(log.end(partition(0)).unwrap() == token, "what failed is not visible");
                println!("failed {error}");
                return;
            }
        }
    }
    panic!("the disk never failed");
}

#[test]
fn a_failing_disk_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = child("embedded::child_whose_disk_fails", dir.path()).spawn().unwrap();
    let lines: Vec<String> = lines(&mut child).collect();
    assert!(child.wait().unwrap().success(), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("File too large")), "{lines:?}");
    let acked = lines.iter().filter(|line| line.starts_with("acked ")).count();
    assert!(acked > 0, "the disk failed too early to show anything");
    let log = EmbeddedLog::open(dir.path(), ALL).unwrap();
    let end = log.end(partition(0)).unwrap();
    assert!(end >= acked as u64);
    let stored = read_from(&log, partition(0), 0, usize::try_from(end).unwrap());
    assert!(stored.iter().all(|stored| stored.record.payload == payload(97)));
}

#[test]
fn a_log_that_is_open_is_not_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let _open = EmbeddedLog::open(dir.path(), ALL).unwrap();
    let error = EmbeddedLog::open(dir.path(), ALL).err().unwrap();
    assert!(matches!(&error, LogError::InUse(place) if *place == dir.path().display().to_string()), "{error}");
}

#[test]
fn another_partition_count_is_refused() {
    static WIDER: Topic = Topic { partitions: 13, ..ORDER };
    let dir = tempfile::tempdir().unwrap();
    drop(EmbeddedLog::open(dir.path(), ALL).unwrap());
    let error = EmbeddedLog::open(dir.path(), &[&WIDER]).err().unwrap();
    assert!(matches!(&error, LogError::Mismatch(text) if text.contains("order.events has 12 partitions")), "{error}");
}

#[test]
fn a_topic_that_was_not_opened_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), &[&ORDER]).unwrap();
    let stock = Partition { topic: &STOCK, number: 0 };
    assert!(matches!(log.end(stock), Err(LogError::NoTopic("stock.events"))));
    assert!(matches!(log.topic_id(&STOCK), Err(LogError::NoTopic("stock.events"))));
    let (appender, _) = appender(&log);
    let refused = appender.append(stock, &records(1).remove(0), 0).unwrap_err();
    assert!(!refused.fatal && refused.detail.contains("stock.events"), "{refused}");
}

/// A directory of an older build gets the topics that have come since.
#[test]
fn a_topic_that_is_new_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), ALL).unwrap();
    append(&log, partition(0), &records(3));
    drop(log);
    let log = EmbeddedLog::open(dir.path(), EMBEDDED).unwrap();
    assert_eq!(log.end(partition(0)).unwrap(), 3);
    let audit = Partition { topic: &AUDIT, number: 0 };
    append(&log, audit, &records(1));
    drop(log);
    assert_eq!(EmbeddedLog::open(dir.path(), EMBEDDED).unwrap().end(audit).unwrap(), 1);
}

#[test]
fn a_group_has_one_member_at_a_time() {
    let log = Directory::new().open();
    let member = log.join("owners", "a", &[&ORDER], Box::new(|_| {})).unwrap();
    let second = log.join("owners", "b", &[&STOCK, &ORDER], Box::new(|_| {})).err().unwrap().to_string();
    assert!(second.contains("order.events has a member already"), "{second}");
    let other_topic = log.join("owners", "b", &[&STOCK], Box::new(|_| {}));
    assert!(other_topic.is_ok());
    drop(member);
    assert!(log.join("owners", "b", &[&ORDER], Box::new(|_| {})).is_ok());
}
