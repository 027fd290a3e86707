//! What only a log on Kafka can do wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use futures::executor::block_on;
use lonja_eventlog::kafka::topics::TopicsError;
use lonja_eventlog::kafka::{KafkaLog, Settings};
use lonja_eventlog::{Assignment, EventLog, LogError, Membership, Partition};
use rdkafka::admin::{AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use schemas::topics::{ORDER, STOCK};

use crate::homes::Cluster;
use crate::records::{PATIENCE, appender, decision, partition, term};

#[test]
fn topics_are_made_once() {
    let cluster = Cluster::without_topics();
    let log = cluster.connect();
    assert!(matches!(log.check_topics(), Err(TopicsError::Different(missing)) if missing.len() == 4));
    assert!(matches!(log.topic_id(&STOCK), Err(LogError::NoTopic("stock.events"))));
    assert!(matches!(log.end(partition(0)), Err(LogError::NoTopic("order.events"))));
    let made = log.apply_topics(1).unwrap();
    let names = ["order.events", "stock.events", "lonja.owners", "lonja.audit"];
    let names = names.map(|name| format!("{}{name}", cluster.prefix));
    assert_eq!(made.created, names);
    assert_eq!(setting_of(&names[2], "cleanup.policy"), "compact");
    assert_eq!(setting_of(&names[3], "retention.ms"), "-1");
    log.check_topics().unwrap();
    let again = log.apply_topics(1).unwrap();
    assert_eq!((again.created.len(), again.mended.len(), again.unchanged), (0, 0, made.created));
}

#[test]
fn a_partition_count_is_never_changed() {
    let cluster = Cluster::without_topics();
    let name = format!("{}stock.events", cluster.prefix);
    let narrow = NewTopic::new(&name, 11, TopicReplication::Fixed(1));
    block_on(Cluster::admin().create_topics([&narrow], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    let log = cluster.connect();
    let refused = log.apply_topics(1).unwrap_err().to_string();
    assert!(refused.contains(&format!("{name}: partitions is 11, must be 12")), "{refused}");
    assert!(refused.contains("message.timestamp.type is CreateTime, must be LogAppendTime"), "{refused}");
    assert!(matches!(log.end(partition(0)), Err(LogError::NoTopic(_))), "nothing was made");
    let listed = log.check_topics().unwrap_err().to_string();
    assert!(listed.contains("order.events: does not exist; run `lonja topics apply`"), "{listed}");
    assert!(listed.contains("partitions is 11"), "{listed}");
}

fn setting_of(topic: &str, setting: &str) -> String {
    let (admin, options, topic) = (Cluster::admin(), AdminOptions::new(), [ResourceSpecifier::Topic(topic)]);
    let described = block_on(admin.describe_configs(&topic, &options)).unwrap().remove(0).unwrap();
    described.get(setting).unwrap().value.clone().unwrap()
}

#[test]
fn retention_is_put_right_and_other_settings_are_kept() {
    let cluster = Cluster::new();
    let name = format!("{}order.events", cluster.prefix);
    let set = |entries: &[(&str, &str)]| {
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(&name));
        for (setting, value) in entries {
            change = change.set(setting, value);
        }
        block_on(Cluster::admin().alter_configs([&change], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
        let (setting, value) = entries[entries.len() - 1];
        while setting_of(&name, setting) != value {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let good = [("message.timestamp.type", "LogAppendTime"), ("max.message.bytes", "1048588")];
    let log = cluster.connect();
    set(&[good[0], good[1], ("retention.bytes", "-1"), ("segment.bytes", "5000000"), ("retention.ms", "60000")]);
    let different = log.check_topics().unwrap_err().to_string();
    assert!(different.ends_with(&format!("{name}: retention.ms is 60000, must be -1")), "{different}");
    let report = log.apply_topics(1).unwrap();
    assert_eq!(report.to_string().lines().next().unwrap(), format!("{name}: retention.ms set to -1"));
    log.check_topics().unwrap();
    assert_eq!(setting_of(&name, "segment.bytes"), "5000000");

    set(&[good[0], good[1], ("retention.ms", "-1"), ("cleanup.policy", "compact")]);
    let refused = log.apply_topics(1).unwrap_err().to_string();
    assert!(refused.contains("cleanup.policy is compact, must be delete"), "{refused}");
    assert!(log.check_topics().is_err(), "and nothing was changed");
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let settings = Settings { request_timeout: Duration::from_millis(500), ..Settings::default() };
    let error = KafkaLog::connect("127.0.0.1:1", settings).err().unwrap().to_string();
    assert_eq!(error, "connecting to 127.0.0.1:1 failed: no broker answers");
}

#[test]
fn an_append_to_a_missing_topic_is_reported() {
    let cluster = Cluster::without_topics();
    let log = cluster.connect();
    let (appender, reports) = appender(&log);
    appender.append(partition(0), &decision(term(1), 1), 5).unwrap();
    let report = reports.recv_timeout(Duration::from_secs(40)).unwrap();
    assert_eq!(report.token, 5);
    let error = report.outcome.unwrap_err();
    assert!(error.fatal && error.detail.contains("not present in metadata"), "{error}");
}

/// A member of the group and what it was told.
fn join(log: &KafkaLog, node: &str) -> (Box<dyn Membership>, Receiver<Assignment>) {
    let (sender, assignments) = unbounded();
    let sink = Box::new(move |assignment| {
        let _ = sender.send(assignment);
    });
    (log.join("owners", node, &[&ORDER, &STOCK], sink).unwrap(), assignments)
}

/// Applies what arrives until `done`.
fn follow(
    held: &mut BTreeSet<Partition>,
    assignments: &Receiver<Assignment>,
    done: impl Fn(&BTreeSet<Partition>) -> bool,
) {
    while !done(held) {
        match assignments.recv_timeout(PATIENCE).unwrap() {
            Assignment::Assigned(partitions) => {
                partitions.into_iter().for_each(|partition| assert!(held.insert(partition), "{partition} twice"));
            }
            Assignment::Revoked(partitions) => {
                partitions.iter().for_each(|partition| assert!(held.remove(partition), "{partition} was not held"));
            }
        }
    }
}

#[test]
fn members_share_and_inherit_partitions() {
    let cluster = Cluster::new();
    let log = cluster.connect();
    let (mut first, mut second) = (BTreeSet::new(), BTreeSet::new());
    let (_first_member, first_told) = join(&log, "a");
    follow(&mut first, &first_told, |held| held.len() == 24);
    let (second_member, second_told) = join(&log, "b");
    follow(&mut first, &first_told, |held| held.len() == 12);
    follow(&mut second, &second_told, |held| held.len() == 12);
    assert!(first.is_disjoint(&second));
    drop(second_member);
    follow(&mut second, &second_told, BTreeSet::is_empty);
    // A static member does not say goodbye: its session has to end.
    follow(&mut first, &first_told, |held| held.len() == 24);
}
