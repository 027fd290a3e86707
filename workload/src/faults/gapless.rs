//! Kafka refuses a record in the middle of others: nothing that was handed over after it may land behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use eventlog::fault::set_mutant;
use eventlog::kafka::{KafkaLog, Settings};
use eventlog::{EventLog, Partition, Record, Report};
use schemas::topics::ORDER;

use super::Row;
use super::place::{Place, Tools};
use super::trial::{Judged, Verdict, Violation};
use crate::log_reader;

/// Larger than the topics allow, and than nothing else that stands in the way of a record.
const REFUSED_BYTES: usize = 2 << 20;
/// Records before it, and behind it.
const BEFORE: u64 = 3;
const BEHIND: u64 = 200;
/// All of it is in the log, or is not.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn rows() -> Vec<Row> {
    let off = "the appender goes on behind an error: what lands must be found";
    vec![
        Row::new("gapless", "the broker refuses a record amid others", 0.0, |tools| append(tools, None)).quick(),
        Row::new("no-gapless", off, 0.0, |tools| append(tools, Some("gapless"))).quick().must_find("I4"),
    ]
}

fn append(tools: &Tools, mutant: Option<&str>) -> Result<Judged> {
    let place = Place::new(tools, tools.stack.clone(), 1)?;
    set_mutant(mutant);
    let appended = append_all(&place);
    set_mutant(None);
    let (ok, failed) = appended?;
    let log = log_reader::read(place.stack.kafka()?, &place.stack.topic_prefix, &ORDER)?;
    let behind = log.records.iter().filter(|record| record.key.starts_with(b"behind")).count();
    ensure!(ok >= BEFORE && failed > 0, "{ok} appends succeeded, {failed} failed: the fault did not strike");
    let violation = (behind > 0).then(|| Violation {
        invariant: "I4".to_owned(),
        detail: format!("{behind} records stand behind one that was refused"),
    });
    let attempts = BTreeMap::from([("ok".to_owned(), ok), ("failed".to_owned(), failed)]);
    let commands = BEFORE + 1 + BEHIND;
    let verdict =
        Verdict { commands, reads: 0, attempts, unresolved: 0, voids: 0, violations: violation.into_iter().collect() };
    Ok(Judged { verdict, found: Vec::new(), recovery_s: Some(0.0), longest_pause_s: 0.0 })
}

/// How many appends succeeded, and how many did not.
fn append_all(place: &Place) -> Result<(u64, u64)> {
    let settings = Settings { prefix: place.stack.topic_prefix.clone(), ..Settings::default() };
    let log = KafkaLog::connect(place.stack.kafka()?, settings).context("connecting to Kafka")?;
    let (tell, told) = mpsc::channel();
    // Nobody listens any more once every report is there.
    let sink = Arc::new(move |report: Report| tell.send(report.outcome.is_ok()).unwrap_or_default());
    let appender = log.appender(sink).context("making an appender")?;
    let partition = Partition { topic: &ORDER, number: 0 };
    let small = |name: &str, number| record(format!("{name}-{number}"), 100);
    let before = (0..BEFORE).map(|number| small("before", number));
    let behind = (0..BEHIND).map(|number| small("behind", number));
    let all = before.chain([record("refused".to_owned(), REFUSED_BYTES)]).chain(behind);
    let (mut ok, mut failed) = (0, 0);
    let mut taken = 0;
    for (record, token) in all.zip(0..) {
        match appender.append(partition, &record, token) {
            Ok(()) => taken += 1,
            Err(_) => failed += 1,
        }
    }
    for _ in 0..taken {
        match told.recv_timeout(PATIENCE).context("an append without a report")? {
            true => ok += 1,
            false => failed += 1,
        }
    }
    Ok((ok, failed))
}

fn record(key: String, bytes: usize) -> Record {
    Record { key: Bytes::from(key), headers: Arc::default(), payload: vec![0x55; bytes].into() }
}
