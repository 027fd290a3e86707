//! Faults of what stands in the log: a foreign producer writes odd records and poison, and offsets of the group are moved.

use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use schemas::topics::{self, ORDER_PLACED};
use schemas::{Envelope, Headers, Topic};
use serde_json::Value;
use uuid::Uuid;

use super::Row;
use super::place::{self, Tools};
use super::trial::{Judged, Scene, Trial};
use crate::load::now_ms;
use crate::log_reader::{self, Raw};

/// How often poison is tried: the owner may be faster.
const TRIES: u32 = 50;
/// A static member is remembered so long after it left (6 s), and a little more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon poison must be parked.
const PARKED_WITHIN: Duration = Duration::from_secs(5);
const VIEWS_OF_ORDERS: usize = 3;
/// Bytes of a record that is larger than any of ours, and that a broker takes.
const LARGE: usize = 900_000;

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("F21", "an event that counts and that nobody can read; then operators discard it", 5.0, poison)
            .quick(),
        Row::new("F23", "odd records of a foreign producer in each partition", 2.0, |tools| {
            Trial { strike: &odd, after: &all_void, ..Trial::default() }.run(tools)
        })
        .quick(),
        Row::new("F25", "the offsets of the owners' group are moved back to the beginning", 11.0, |tools| {
            Trial { seconds: 18.0, strike: &rewind, ..Trial::default() }.run(tools)
        }),
    ]
}

/// What a stranger may write.
struct Odd {
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    headers: Headers,
}

fn odd(scene: &Scene) -> Result<i64> {
    let producer = producer(scene)?;
    for topic in topics::ALL {
        let log = log_reader::read(scene.place.stack.kafka()?, &scene.place.stack.topic_prefix, topic)?;
        for partition in 0..topic.partitions {
            let known: Vec<&Raw> = log.records.iter().filter(|record| record.partition == partition).collect();
            let last = known.last().context("each partition has a claim")?;
            for odd in odd_records(last) {
                send(&producer, scene, topic, partition, &odd)?;
            }
        }
    }
    producer.flush(PATIENCE).context("writing odd records")?;
    Ok(now_ms())
}

/// `last` is a record that counted a moment ago.
fn odd_records(last: &Raw) -> Vec<Odd> {
    let garbage = Some(b"\0\0\0\x03\xe7garbage".to_vec());
    let with = |name: &str, value: &[u8]| set(last.headers.clone(), name, value);
    vec![
        Odd { key: Some(last.key.to_vec()), payload: Some(last.payload.to_vec()), headers: last.headers.clone() },
        Odd { key: Some(last.key.to_vec()), payload: garbage.clone(), headers: with("lonja_term", b"1:00") },
        Odd { key: None, payload: Some(last.payload.to_vec()), headers: last.headers.clone() },
        Odd { key: Some(last.key.to_vec()), payload: None, headers: last.headers.clone() },
        Odd { key: None, payload: None, headers: Headers::new() },
        Odd { key: Some(b"k".to_vec()), payload: garbage.clone(), headers: Headers::new() },
        Odd { key: Some(b"k".to_vec()), payload: garbage.clone(), headers: with("ce_type", b"com.example.Unknown") },
        Odd { key: Some(b"\xff\xfe".to_vec()), payload: garbage.clone(), headers: with("ce_id", b"\xff\xfe") },
        Odd { key: None, payload: garbage.clone(), headers: with("lonja_sequence", b"-1") },
        Odd { key: None, payload: garbage, headers: with("lonja_term", b"18446744073709551616:00") },
        Odd { key: None, payload: Some(vec![b'x'; LARGE]), headers: Headers::new() },
    ]
}

fn set(headers: Headers, name: &str, value: &[u8]) -> Headers {
    let value = bytes::Bytes::copy_from_slice(value);
    headers.into_iter().map(|(own, old)| if own == name { (own, value.clone()) } else { (own, old) }).collect()
}

/// Whatever was written counts nowhere, so no owner was deposed and no view has stopped.
fn all_void(scene: &Scene) -> Result<Vec<String>> {
    Ok(scene
        .shop()
        .reasons()?
        .into_iter()
        .map(|(part, reason)| format!("I14: {part} is not ready: {reason}"))
        .collect())
}

/// Only somebody who reads the log can write an event that counts: with the term of now and the next number.
fn poison(tools: &Tools) -> Result<Judged> {
    let strike = |scene: &Scene| {
        let producer = producer(scene)?;
        scene.verify.borrow_mut().push("--allow-others".into());
        for attempt in 0..TRIES {
            let topic = &topics::ORDER;
            let partition = attempt % topic.partitions;
            let log = log_reader::read(scene.place.stack.kafka()?, &scene.place.stack.topic_prefix, topic)?;
            let last = log.records.iter().rfind(|record| record.partition == partition).context("a claim")?;
            let key = key_in(topic, partition);
            let headers = next(last, &key)?;
            let poison = Odd { key: Some(key.clone().into_bytes()), payload: Some(b"poison".to_vec()), headers };
            send(&producer, scene, topic, partition, &poison)?;
            producer.flush(PATIENCE).context("writing poison")?;
            let log = log_reader::read(scene.place.stack.kafka()?, &scene.place.stack.topic_prefix, topic)?;
            let of_partition = |record: &&Raw| record.partition == partition;
            let behind = log.records.iter().filter(of_partition).find(|record| record.offset == last.offset + 1);
            if behind.is_some_and(|record| record.key == key) {
                let struck = now_ms();
                wait_parked(scene, &format!("{}/{partition}", topic.name), &key)?;
                return Ok(struck);
            }
        }
        anyhow::bail!("the owner was always faster: the fault did not strike")
    };
    Trial { strike: &strike, after: &discarded, ..Trial::default() }.run(tools)
}

/// Waits until each view of orders has parked the poison alone.
fn wait_parked(scene: &Scene, partition: &str, key: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let rows = parked(scene)?;
        let is_poison = |row: &Value| {
            row["key"] == key && row["partition"] == partition && row["cause"] == "unreadable" && row["events"] == 1
        };
        ensure!(rows.iter().all(is_poison), "more than the poison is parked: {rows:?}");
        if rows.len() == VIEWS_OF_ORDERS {
            return Ok(());
        }
        ensure!(begun.elapsed() < PARKED_WITHIN, "after {PARKED_WITHIN:?} only this is parked: {rows:?}");
    }
}

/// Every view goes on; trying again is in vain; discarding leaves nothing behind.
fn discarded(scene: &Scene) -> Result<Vec<String>> {
    let mut found = all_void(scene)?;
    for row in parked(scene)? {
        let text = |name: &str| row[name].as_str().context("a row of what is parked").map(str::to_owned);
        let key = [text("view")?, text("partition")?, text("key")?];
        let retried = operate(scene, "retry", &key)?;
        if retried.status.success() {
            found.push(format!("I14: poison was applied: {}", place::text(&retried)));
        }
        let discarded = operate(scene, "discard", &key)?;
        if !discarded.status.success() {
            found.push(format!("I14: {} is not discarded: {}", key[0], place::text(&discarded)));
        }
    }
    let left = parked(scene)?;
    if !left.is_empty() {
        found.push(format!("I14: still parked: {left:?}"));
    }
    Ok(found)
}

fn parked(scene: &Scene) -> Result<Vec<Value>> {
    let listed = lonja(scene, &["parked", "list", "--json"]).output().context("listing what is parked")?;
    let list: Value = serde_json::from_slice(&listed.stdout).with_context(|| place::text(&listed))?;
    Ok(list["data"].as_array().context("a list")?.clone())
}

fn operate(scene: &Scene, verb: &str, key: &[String]) -> Result<Output> {
    let mut command = lonja(scene, &["parked", verb]);
    command.args(key).args(["--reason", "a foreign producer wrote it"]);
    command.output().context("asking the operators' API")
}

fn lonja(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = scene.place.command("lonja");
    command.args(arguments).args(["--operators", &format!("http://{}", scene.shop().operators)]);
    command
}

/// A key of `partition`.
fn key_in(topic: &Topic, partition: u32) -> String {
    let mut keys = (0_u32..).map(|number| format!("poison-{number}"));
    keys.find(|key| topic.partition_of(key.as_bytes()) == partition).unwrap_or_default()
}

/// The headers of the record that would count behind `last`.
fn next(last: &Raw, key: &str) -> Result<Headers> {
    let before = Envelope::from_headers(&last.headers)?;
    let poison = Envelope {
        id: Uuid::new_v4(),
        record_type: ORDER_PLACED.name.into(),
        subject: format!("order/{key}"),
        sequence: before.sequence + 1,
        version: 1,
        ..before
    };
    Ok(poison.to_headers(topics::ORDER.aggregate))
}

fn producer(scene: &Scene) -> Result<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", scene.place.stack.kafka()?).create().context("making a foreign producer")
}

fn send(producer: &BaseProducer, scene: &Scene, topic: &Topic, partition: u32, odd: &Odd) -> Result<()> {
    let name = format!("{}{}", scene.place.stack.topic_prefix, topic.name);
    let headers = odd
        .headers
        .iter()
        .fold(OwnedHeaders::new(), |all, (name, value)| all.insert(Header { key: name, value: Some(value.as_ref()) }));
    let mut record = BaseRecord::<[u8], [u8]>::to(&name).partition(i32::try_from(partition)?).headers(headers);
    if let Some(key) = &odd.key {
        record = record.key(key.as_slice());
    }
    if let Some(payload) = &odd.payload {
        record = record.payload(payload.as_slice());
    }
    producer.send(record).map_err(|(error, _)| error).context("writing an odd record")?;
    producer.poll(Duration::ZERO);
    Ok(())
}

/// The broker moves offsets only of a group without members, so the shop is away meanwhile.
fn rewind(scene: &Scene) -> Result<i64> {
    let stack = &scene.place.stack;
    scene.shop().hold()?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stack.kafka()?).set("group.id", format!("{}lonja.owners", stack.topic_prefix));
    let consumer: BaseConsumer = config.create().context("making a consumer")?;
    let mut beginning = TopicPartitionList::new();
    for topic in topics::ALL {
        for partition in 0..topic.partitions {
            let name = format!("{}{}", stack.topic_prefix, topic.name);
            beginning.add_partition_offset(&name, i32::try_from(partition)?, Offset::Offset(0))?;
        }
    }
    let begun = Instant::now();
    while let Err(error) = consumer.commit(&beginning, CommitMode::Sync) {
        ensure!(begun.elapsed() < FORGOTTEN_AFTER * 2, "the offsets cannot be moved: {error}");
        sleep(Duration::from_millis(500));
    }
    scene.shop().release();
    Ok(now_ms())
}
