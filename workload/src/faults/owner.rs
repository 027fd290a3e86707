//! Faults of the processes that own partitions and answer commands.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use schemas::topics;

use super::Row;
use super::measure::Recovered;
use super::place::Tools;
use super::requests::{at_once, order, record};
use super::shop::Node;
use super::trial::{Judged, Scene, Trial, crash};
use crate::load::now_ms;

/// How long the group waits for a sign of life (6 s), and 5 s.
const TAKEOVER_S: f64 = 11.0;
/// Commands that an owner has in its hands when it freezes, and how long after they were sent it does.
const ZOMBIE_ORDERS: u32 = 400;
const ZOMBIE_AFTER: Duration = Duration::from_millis(500);
/// The group of the owners, behind the prefix.
const GROUP: &str = "lonja.owners";
/// How often a second member joins and leaves in F26, how long it holds what it got and is away, and how long it waits for
/// something to hold.
const STORMS: u32 = 8;
const STORM_PHASE: Duration = Duration::from_secs(1);
const STORM_JOIN_MAX: Duration = Duration::from_secs(15);
/// Progress may never stop for longer while it storms.
const STORM_PAUSE_S_MAX: f64 = 30.0;
/// By so much clocks are off in F20, and by 24 times that.
const HOUR_MS: i64 = 3_600_000;

pub fn rows() -> Vec<Row> {
    let dies = |name, strikes, run| Row::new(name, strikes, TAKEOVER_S, run).quick();
    vec![
        dies("F01", "the process dies between the log's acknowledgement and the response", |tools| {
            process_dies(tools, "before-response:200")
        }),
        dies("F02-before-append", "the owner dies before the append", |tools| process_dies(tools, "before-append:200")),
        dies("F02-after-append", "the owner dies after the append, before the answer", |tools| {
            process_dies(tools, "after-append:200")
        }),
        dies("F02-after-answer", "the owner dies after the answer, before the state store", |tools| {
            process_dies(tools, "after-answer:200")
        }),
        Row::new(
            "F04",
            "an owner is frozen past its session, and goes on when another one has taken over",
            TAKEOVER_S,
            zombie,
        ),
        Row::new("F05", "each of two nodes is restarted twice in an orderly way", TAKEOVER_S, rolling_restart),
        Row::new("F20-hour-ahead", "the shop's clock jumps an hour ahead", 2.0, |tools| clock(tools, HOUR_MS)),
        Row::new("F20-hour-back", "the shop's clock jumps an hour back", 2.0, |tools| clock(tools, -HOUR_MS)),
        Row::new("F20-day-ahead", "the shop's clock jumps a day ahead", 2.0, |tools| clock(tools, 24 * HOUR_MS)),
        Row::new("F20-day-back", "the shop's clock jumps a day back", 2.0, |tools| clock(tools, -24 * HOUR_MS)),
        Row::new(
            "F26",
            "another member joins the owners' group and leaves it, eight times",
            TAKEOVER_S,
            rebalance_storm,
        ),
    ]
}

fn process_dies(tools: &Tools, point: &str) -> Result<Judged> {
    let node = Node { first: vec![("LONJA_CRASH", point.to_owned())], ..Node::default() };
    Trial { nodes: vec![node], strike: &crash, ..Trial::default() }.run(tools)
}

pub fn no_dedup(tools: &Tools) -> Result<Judged> {
    let node = Node { always: vec![("LONJA_MUTANT", "no-dedup".to_owned())], ..Node::default() };
    Trial { nodes: vec![node], ..Trial::default() }.run(tools)
}

/// Two nodes that say soon that they do not own something: callers then ask the other one.
pub fn two_nodes() -> Vec<Node> {
    let node = Node { always: vec![("LONJA_COMMAND_TIMEOUT_MS", "1000".to_owned())], ..Node::default() };
    vec![node.clone(), node]
}

fn zombie(tools: &Tools) -> Result<Judged> {
    let strike = |scene: &Scene| {
        let addresses: Vec<_> = scene.shops.iter().map(|shop| shop.address).collect();
        let run = uuid::Uuid::new_v4().simple().to_string();
        scene.servers()?.pause("kafka")?;
        let burst = (0..ZOMBIE_ORDERS).map(|number| order(&format!("{run}-{number}"), false)).collect();
        let (struck, attempts) = std::thread::scope(|scope| {
            let sent = scope.spawn(|| at_once(&addresses, burst));
            // While the broker stands still one request is under way and the other records wait in its producer, which sends
            // them when it goes on.
            sleep(ZOMBIE_AFTER);
            scene.shop().signal(Signal::SIGSTOP)?;
            let struck = now_ms();
            scene.servers()?.resume("kafka")?;
            sleep(Duration::from_secs(12));
            scene.shop().signal(Signal::SIGCONT)?;
            let sent = sent.join().unwrap_or_else(|_| bail!("the thread that sends panicked"))?;
            anyhow::Ok((struck, sent))
        })?;
        record(scene, "zombie", &attempts)?;
        Ok(struck)
    };
    let (recovered, load) = (Recovered::EachPartition, &["--answer-timeout", "3"]);
    let (own, nodes) = ("kafka", two_nodes());
    let trial = Trial { own, nodes, seconds: 22.0, load, recovered, strike: &strike, ..Trial::default() };
    let judged = trial.run(tools)?;
    ensure!(judged.verdict.voids > 0, "the zombie appended nothing behind its successor: the fault did not strike");
    Ok(judged)
}

fn rolling_restart(tools: &Tools) -> Result<Judged> {
    let strike = |scene: &Scene| {
        for shop in scene.shops.iter().chain(&scene.shops) {
            shop.restart()?;
            shop.wait_until_ready()?;
        }
        Ok(now_ms())
    };
    let after = |scene: &Scene| {
        let attempts = scene.attempts()?;
        let odd = attempts
            .iter()
            .filter(|attempt| attempt.status.is_some_and(|status| status >= 500 && ![503, 504].contains(&status)));
        Ok(odd
            .map(|attempt| format!("F05: {} was answered {:?} {}", attempt.path, attempt.status, attempt.body))
            .collect())
    };
    let (recovered, load) = (Recovered::EachPartition, &["--answer-timeout", "3"]);
    let trial = Trial {
        nodes: two_nodes(),
        seconds: 30.0,
        load,
        recovered,
        strike: &strike,
        after: &after,
        ..Trial::default()
    };
    trial.run(tools)
}

/// The process believes the time of day that a file makes of it: the owner's clock, which is in every event, is the only one
/// that it asks. Durations stay what they are: a wrong clock is not a fast one.
fn clock(tools: &Tools, skew_ms: i64) -> Result<Judged> {
    let directory = tempfile::tempdir().context("making a directory for the clock")?;
    let file = directory.path().join("skew");
    std::fs::write(&file, "0").context("setting the clock")?;
    let always = vec![("LONJA_CLOCK", file.display().to_string())];
    let strike = |_: &Scene| {
        // At once: a file that is half written says nothing.
        let new = directory.path().join("new");
        std::fs::write(&new, skew_ms.to_string()).context("setting the clock")?;
        std::fs::rename(&new, &file).context("setting the clock")?;
        Ok(now_ms())
    };
    Trial { nodes: vec![Node { always, ..Node::default() }], seconds: 8.0, strike: &strike, ..Trial::default() }
        .run(tools)
}

fn rebalance_storm(tools: &Tools) -> Result<Judged> {
    let strike = |scene: &Scene| {
        for _ in 0..STORMS {
            drop(member(scene)?);
            sleep(STORM_PHASE);
        }
        Ok(now_ms())
    };
    let (recovered, seconds) = (Recovered::EachPartition, 90.0);
    let mut judged = Trial { seconds, recovered, strike: &strike, ..Trial::default() }.run(tools)?;
    if judged.longest_pause_s > STORM_PAUSE_S_MAX {
        judged.found.push(format!("F26: no answer for {} s", judged.longest_pause_s));
    }
    Ok(judged)
}

/// A member that takes a share of the partitions and serves none of them, after it has held them for a while.
fn member(scene: &Scene) -> Result<BaseConsumer> {
    let stack = &scene.place.stack;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", stack.kafka()?)
        .set("group.id", format!("{}{GROUP}", stack.topic_prefix))
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().context("making a consumer")?;
    let names: Vec<String> = topics::ALL.iter().map(|topic| format!("{}{}", stack.topic_prefix, topic.name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    consumer.subscribe(&names).context("joining the owners' group")?;
    let late = Instant::now() + STORM_JOIN_MAX;
    let mut held_since = None;
    while held_since.is_none_or(|since: Instant| since.elapsed() < STORM_PHASE) {
        // Records are of no interest.
        drop(consumer.poll(Duration::from_millis(50)));
        let held = consumer.assignment().map_or(0, |list| list.count());
        if held > 0 && held_since.is_none() {
            eprintln!("  the other member holds {held} partitions");
            held_since = Some(Instant::now());
        }
        ensure!(held > 0 || Instant::now() < late, "the other member got no partition: the fault did not strike");
    }
    Ok(consumer)
}
