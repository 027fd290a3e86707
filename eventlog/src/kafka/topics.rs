//! Topics as they must be: made by a step, checked at every start.

use std::collections::HashMap;
use std::fmt;
use std::time::Instant;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ConfigResource, NewTopic, TopicReplication};
use rdkafka::admin::{ConfigSource, ResourceSpecifier};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use schemas::Topic;
use schemas::topics::every;
use serde::Serialize;

use super::logging::Quiet;
use super::{KafkaLog, RETRY_BACKOFF, no_topic, unavailable};
use crate::LogError;

/// Settings that can be put right on a topic that has records: from then on it forgets less. Others have formed what
/// is in the topic already, so that putting them right would hide that its past may not be whole.
const MENDABLE: &[&str] = &["retention.ms", "retention.bytes"];

/// From this replication on, a record must be on two brokers before it counts as appended.
const REPLICATION_OF_CARE: i32 = 3;

/// Something about a topic that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The topic's name on the brokers.
    pub topic: String,
    /// Kafka's name of the setting, or `partitions`.
    pub setting: String,
    /// What it must be.
    pub expected: String,
    /// What it is; `None` where there is none: of partitions, because there is no such topic.
    pub found: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, setting, expected, found } = self;
        match found {
            None if setting == PARTITIONS => write!(f, "{topic}: does not exist; run `lonja topics apply`"),
            None => write!(f, "{topic}: {setting} is not known, must be {expected}"),
            Some(found) => write!(f, "{topic}: {setting} is {found}, must be {expected}"),
        }
    }
}

/// What [`KafkaLog::apply_topics`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TopicsReport {
    /// Topics that were made.
    pub created: Vec<String>,
    /// Settings that were put right.
    pub mended: Vec<Difference>,
    /// Topics that were as they must be.
    pub unchanged: Vec<String>,
}

impl fmt::Display for TopicsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for topic in &self.created {
            writeln!(f, "{topic}: created")?;
        }
        for Difference { topic, setting, expected, .. } in &self.mended {
            writeln!(f, "{topic}: {setting} set to {expected}")?;
        }
        for topic in &self.unchanged {
            writeln!(f, "{topic}: unchanged")?;
        }
        Ok(())
    }
}

/// Why the topics cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// The brokers did not answer.
    #[error("asking about topics failed")]
    Log(#[from] LogError),
    /// Topics are not as they must be, in a way that nothing here may change.
    #[error("topics are not as they must be: {}", list(.0))]
    Different(Vec<Difference>),
    /// A topic could not be made or changed.
    #[error("{doing} failed: {detail}")]
    Refused {
        /// What was attempted.
        doing: String,
        /// What the brokers said.
        detail: String,
    },
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

impl KafkaLog {
    /// Whether every topic is there with its partition count and settings. Changes nothing.
    ///
    /// # Errors
    /// When the brokers do not answer, or anything is missing or different: all of it is listed.
    pub fn check_topics(&self) -> Result<(), TopicsError> {
        let mut differences = Vec::new();
        for topic in every() {
            match self.differences(topic) {
                Ok(state) => differences.extend(state.differences),
                Err(LogError::NoTopic(_)) => differences.push(Difference {
                    topic: self.name(topic),
                    setting: PARTITIONS.to_owned(),
                    expected: topic.partitions.to_string(),
                    found: None,
                }),
                Err(error) => return Err(error.into()),
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(TopicsError::Different(differences)) }
    }

    /// Makes the topics that are missing, each partition on `replication` brokers, and puts settings right where that
    /// is safe. Nothing is changed when anything cannot be put right.
    ///
    /// # Errors
    /// When the brokers do not answer or refuse, a partition count is different (it is part of the data), or a setting
    /// that cannot be put right afterwards.
    pub fn apply_topics(&self, replication: i32) -> Result<TopicsReport, TopicsError> {
        let mut report = TopicsReport::default();
        let mut missing: Vec<&'static Topic> = Vec::new();
        let mut found = Vec::new();
        for topic in every() {
            match self.differences(topic) {
                Ok(state) => found.push(state),
                Err(LogError::NoTopic(_)) => missing.push(topic),
                Err(error) => return Err(error.into()),
            }
        }
        let lasting: Vec<Difference> =
            found.iter().flat_map(|state| &state.differences).filter(|d| !d.mendable()).cloned().collect();
        if !lasting.is_empty() {
            return Err(TopicsError::Different(lasting));
        }
        for topic in missing {
            self.create(topic, replication)?;
            self.wait_until(topic, || {
                let led = self.led_partitions(topic)?;
                Ok(led.len() == topic.partitions as usize && !led.contains(&false))
            })?;
            report.created.push(self.name(topic));
        }
        for state in found {
            if state.differences.is_empty() {
                report.unchanged.push(state.name);
            } else {
                self.mend(&state)?;
                self.wait_until(state.topic, || Ok(self.differences(state.topic)?.differences.is_empty()))?;
                report.mended.extend(state.differences);
            }
        }
        Ok(report)
    }

    /// Whether each partition that the topic has on the brokers has a leader.
    pub(super) fn led_partitions(&self, topic: &'static Topic) -> Result<Vec<bool>, LogError> {
        self.drain();
        let failed = |error: KafkaError| unavailable(&format!("asking about topic {}", topic.name), &error);
        let explain = |error| no_topic(topic, &error).unwrap_or_else(|| failed(error));
        let name = self.name(topic);
        let metadata = self.client.fetch_metadata(Some(&name), self.settings.request_timeout).map_err(explain)?;
        let found = metadata.topics().iter().find(|found| found.name() == name).ok_or(LogError::NoTopic(topic.name))?;
        match found.error() {
            None => Ok(found.partitions().iter().map(|partition| partition.leader() >= 0).collect()),
            Some(error) => Err(explain(KafkaError::MetadataFetch(RDKafkaErrorCode::from(error)))),
        }
    }

    fn differences(&self, topic: &'static Topic) -> Result<TopicState, LogError> {
        let partitions = self.led_partitions(topic)?.len();
        let name = self.name(topic);
        let mut differences = Vec::new();
        let mut compare = |setting: &str, expected: String, found: Option<String>| {
            if found.as_ref() != Some(&expected) {
                differences.push(Difference { topic: name.clone(), setting: setting.to_owned(), expected, found });
            }
        };
        compare(PARTITIONS, topic.partitions.to_string(), Some(partitions.to_string()));
        let described = self.describe(topic)?;
        for (setting, expected) in topic.settings {
            let found = described.get(setting).and_then(|entry| entry.value.clone());
            compare(setting, (*expected).to_owned(), found);
        }
        // Changing settings the old way resets those that are not mentioned, so they are mentioned.
        let own = described.entries.into_iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
        let own = own.filter_map(|entry| Some((entry.name, entry.value?))).collect();
        Ok(TopicState { topic, name, differences, own })
    }

    fn describe(&self, topic: &'static Topic) -> Result<ConfigResource, LogError> {
        let failed = |error: KafkaError| unavailable(&format!("asking for the settings of {}", topic.name), &error);
        let name = self.name(topic);
        let admin = self.admin().map_err(failed)?;
        let answer = block_on(admin.describe_configs(&[ResourceSpecifier::Topic(&name)], &self.options()));
        match answer.map_err(failed)?.pop() {
            Some(Ok(described)) => Ok(described),
            Some(Err(code)) => Err(failed(KafkaError::AdminOp(code))),
            None => Err(failed(KafkaError::AdminOpCreation("the answer is empty".into()))),
        }
    }

    fn create(&self, topic: &Topic, replication: i32) -> Result<(), TopicsError> {
        let name = self.name(topic);
        let doing = format!("making topic {name} with replication {replication}");
        let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
        let mut new = NewTopic::new(&name, partitions, TopicReplication::Fixed(replication));
        for (setting, value) in topic.settings {
            new = new.set(setting, value);
        }
        if replication >= REPLICATION_OF_CARE {
            new = new.set("min.insync.replicas", "2").set("unclean.leader.election.enable", "false");
        }
        let made = self.admin().and_then(|admin| block_on(admin.create_topics([&new], &self.options())));
        match made.map_err(|error| refused(&doing, &error))?.pop() {
            Some(Err((_, code))) => Err(refused(&doing, &KafkaError::AdminOp(code))),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Brokers come to know what the controller has done one after the other.
    fn wait_until(&self, topic: &Topic, done: impl Fn() -> Result<bool, LogError>) -> Result<(), LogError> {
        let deadline = Instant::now() + self.settings.request_timeout;
        while Instant::now() < deadline {
            match done() {
                Ok(true) => return Ok(()),
                Ok(false) | Err(LogError::NoTopic(_)) => std::thread::sleep(RETRY_BACKOFF),
                Err(error) => return Err(error),
            }
        }
        Err(LogError::Unavailable {
            doing: format!("waiting for what was done to topic {}", self.name(topic)),
            detail: "the brokers do not show it".to_owned(),
        })
    }

    fn mend(&self, state: &TopicState) -> Result<(), TopicsError> {
        let doing = format!("changing settings of topic {}", state.name);
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(&state.name));
        for (setting, value) in &state.own {
            change = change.set(setting, value);
        }
        for difference in &state.differences {
            change = change.set(&difference.setting, &difference.expected);
        }
        let made = self.admin().and_then(|admin| block_on(admin.alter_configs([&change], &self.options())));
        match made.map_err(|error| refused(&doing, &error))?.pop() {
            Some(Err((_, code))) => Err(refused(&doing, &KafkaError::AdminOp(code))),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    fn admin(&self) -> Result<AdminClient<Quiet>, KafkaError> {
        self.config().create_with_context(Quiet)
    }

    /// Waits until the controller has done it, not only until it has heard it.
    fn options(&self) -> AdminOptions {
        let timeout = Some(self.settings.request_timeout);
        AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
    }
}

const PARTITIONS: &str = "partitions";

/// What was found of a topic.
struct TopicState {
    topic: &'static Topic,
    name: String,
    differences: Vec<Difference>,
    /// Settings that somebody gave it, by name.
    own: HashMap<String, String>,
}

impl Difference {
    fn mendable(&self) -> bool {
        MENDABLE.contains(&self.setting.as_str())
    }
}

fn refused(doing: &str, error: &KafkaError) -> TopicsError {
    TopicsError::Refused { doing: doing.to_owned(), detail: error.to_string() }
}
