//! Membership in a group of owners: it only learns which partitions are this node's, and reads nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use schemas::Topic;

use super::{Settings, logging, unavailable};
use crate::{Assignment, AssignmentSink, LogError, Membership, Partition};

/// How often the membership's thread looks whether it shall end. Rebalances wake it at once.
const POLL: Duration = Duration::from_millis(100);
/// How long to stay away after the group threw this member out: at first, doubled each time, and at most.
const AWAY: Duration = Duration::from_secs(1);
const AWAY_MAX: Duration = Duration::from_secs(60);

pub(super) struct KafkaMembership {
    leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl KafkaMembership {
    pub(super) fn join(
        mut config: ClientConfig,
        settings: &Settings,
        group: &str,
        node: &str,
        topics: &[&'static Topic],
        sink: AssignmentSink,
    ) -> Result<Self, LogError> {
        config
            .set("group.id", format!("{}{group}", settings.prefix))
            // A static member: a node that restarts within the session gets its partitions back without a rebalance.
            .set("group.instance.id", node)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", settings.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (settings.session_timeout / 6).as_millis().to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest");
        let topics: HashMap<String, &'static Topic> =
            topics.iter().map(|topic| (format!("{}{}", settings.prefix, topic.name), *topic)).collect();
        let seat = Seat { config, topics: Arc::new(topics), sink: Arc::new(Mutex::new(sink)) };
        let consumer = seat.take().map_err(|error| unavailable(&format!("joining group {group}"), &error))?;
        let leaving = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("log-member".into())
            .spawn({
                let leaving = Arc::clone(&leaving);
                move || seat.keep(consumer, &leaving)
            })
            .map_err(|error| LogError::Unavailable { doing: "starting a thread".into(), detail: error.to_string() })?;
        Ok(Self { leaving, thread: Some(thread) })
    }
}

impl Membership for KafkaMembership {}

impl Drop for KafkaMembership {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a membership's thread panicked");
        }
    }
}

/// What joining takes.
struct Seat {
    config: ClientConfig,
    /// By their names on the brokers.
    topics: Arc<HashMap<String, &'static Topic>>,
    sink: Arc<Mutex<AssignmentSink>>,
}

impl Seat {
    fn take(&self) -> Result<BaseConsumer<Member>, KafkaError> {
        let (topics, sink) = (Arc::clone(&self.topics), Arc::clone(&self.sink));
        let consumer: BaseConsumer<Member> =
            self.config.create_with_context(Member { topics, held: Mutex::default(), sink })?;
        consumer.subscribe(&self.topics.keys().map(String::as_str).collect::<Vec<_>>())?;
        Ok(consumer)
    }

    /// Keeps the membership alive. After a network that was cut a client meets its own former request to join, and is taken
    /// for another process of the same name (F12): so whoever is thrown out comes back. Where a name is really used twice
    /// the two take turns, ever more slowly; only the log decides who owns what.
    fn keep(&self, consumer: BaseConsumer<Member>, leaving: &AtomicBool) {
        let (mut consumer, mut away) = (Some(consumer), AWAY);
        while !leaving.load(Ordering::Acquire) {
            let joined = Instant::now();
            if let Some(thrown_out) = consumer.take().and_then(|consumer| stay(&consumer, leaving)) {
                if joined.elapsed() > AWAY_MAX {
                    away = AWAY;
                }
                let seconds = away.as_secs();
                tracing::error!(error = %thrown_out, seconds, "the group threw this node out, which will join anew; is its name used twice?");
            }
            let until = Instant::now() + away;
            away = (away * 2).min(AWAY_MAX);
            while Instant::now() < until {
                if leaving.load(Ordering::Acquire) {
                    return;
                }
                std::thread::sleep(POLL);
            }
            match self.take() {
                Ok(joined) => consumer = Some(joined),
                Err(error) => tracing::error!(%error, "joining the group failed"),
            }
        }
    }
}

/// Until it shall end, or the group throws it out. Callbacks run only while somebody polls.
fn stay(consumer: &BaseConsumer<Member>, leaving: &AtomicBool) -> Option<KafkaError> {
    while !leaving.load(Ordering::Acquire) {
        match consumer.poll(POLL) {
            // Records that came before their partition was paused.
            None | Some(Ok(_)) => {}
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                let held = consumer.context().held.lock().iter().copied().collect();
                consumer.context().revoked(held);
                return Some(error);
            }
            Some(Err(error)) => logging::error(&error, "group membership"),
        }
    }
    None
}

/// Translates rebalances, on the membership's thread.
struct Member {
    topics: Arc<HashMap<String, &'static Topic>>,
    held: Mutex<BTreeSet<Partition>>,
    sink: Arc<Mutex<AssignmentSink>>,
}

impl Member {
    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let elements = list.elements();
        let partitions = elements.iter().filter_map(|element| {
            let topic = self.topics.get(element.topic())?;
            Some(Partition { topic, number: u32::try_from(element.partition()).ok()? })
        });
        partitions.collect()
    }

    fn assigned(&self, partitions: Vec<Partition>) {
        self.held.lock().extend(&partitions);
        self.tell(Assignment::Assigned(partitions));
    }

    fn revoked(&self, partitions: Vec<Partition>) {
        let mut held = self.held.lock();
        let partitions: Vec<Partition> = partitions.into_iter().filter(|partition| held.remove(partition)).collect();
        drop(held);
        if !partitions.is_empty() {
            self.tell(Assignment::Revoked(partitions));
        }
    }

    fn tell(&self, assignment: Assignment) {
        tracing::info!(?assignment, "group membership");
        (self.sink.lock())(assignment);
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        logging::line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        logging::error(&error, reason);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            // Also when the assignment was lost: then another member may have them already.
            Rebalance::Revoke(list) => self.revoked(self.partitions(list)),
            Rebalance::Error(error) => tracing::warn!(%error, "rebalancing"),
            Rebalance::Assign(_) => {}
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(list) = rebalance else { return };
        if list.count() == 0 {
            return;
        }
        if let Err(error) = consumer.pause(list) {
            tracing::warn!(%error, "pausing partitions that are only owned, not read");
        }
        self.assigned(self.partitions(list));
    }
}
