//! Any topic of the log, for people: what stands there, decoded, and whether it counts by the reader's rule.
//!
//! Whether a record counts depends on all that stands before it in its partition. So a partition is read from its start and
//! never from anywhere else ([`survey`]); what was read once is remembered, so that later questions begin near their place.
//! One request reads for a few seconds at most: a question that needs more is answered with how far the reading has come,
//! and asked again.

pub(crate) mod cursor;
pub(crate) mod page;
pub(crate) mod record;
pub(crate) mod stats;
mod survey;

use eventlog::{LogError, Partition};
use schemas::Topic;
use schemas::topics::{ALL, every};

use crate::problem::{INVALID_QUERY, LOG_UNAVAILABLE, Problem, TOPIC_NOT_FOUND};

pub use survey::Surveys;

/// Whether the reader's rule has anything to say of the topic's records.
fn is_ruled(topic: &Topic) -> bool {
    ALL.contains(&topic)
}

fn topic(name: &str) -> Result<&'static Topic, Problem> {
    every().find(|topic| topic.name == name).ok_or_else(|| {
        let names: Vec<_> = every().map(|topic| topic.name).collect();
        Problem::new(&TOPIC_NOT_FOUND, format!("there is no topic {name:?}, but {}", names.join(", ")))
    })
}

/// The one partition, or every one.
fn scope(topic: &'static Topic, partition: Option<u32>) -> Result<Vec<Partition>, Problem> {
    match partition {
        None => Ok(Partition::all(topic).collect()),
        Some(number) if number < topic.partitions => Ok(vec![Partition { topic, number }]),
        Some(_) => {
            let last = topic.partitions - 1;
            Err(Problem::new(&INVALID_QUERY, format!("partition: {} has 0 to {last}", topic.name)))
        }
    }
}

/// A topic that the log lacks is one that only a cluster has.
fn unreadable(error: &LogError) -> Problem {
    let kind = if matches!(error, LogError::NoTopic(_)) { &TOPIC_NOT_FOUND } else { &LOG_UNAVAILABLE };
    Problem::caused(kind, error)
}
