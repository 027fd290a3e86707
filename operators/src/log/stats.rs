//! `GET /v1/log/{topic}/stats`

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use eventlog::{LogError, Partition};
use schemas::topics::Topic;
use serde::{Deserialize, Serialize};

use super::survey::Reading;
use super::{is_ruled, scope, topic, unreadable};
use crate::parameters::{Parameters, blocking};
use crate::problem::Problem;
use crate::range::time;
use crate::server::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    partition: Option<u32>,
}

/// What stands in the partitions.
#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    topic: &'static str,
    /// Every partition was read to its end. If not, the next question goes on where this one ended.
    complete: bool,
    partitions: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    partition: u32,
    /// Offset after the last record of the log.
    end: u64,
    /// Offset after the last record that was counted here.
    read_to: u64,
    records: u64,
    /// Of keys, headers and payloads, uncompressed.
    bytes: u64,
    first: Option<String>,
    last: Option<String>,
    #[serde(flatten)]
    ruled: Option<Ruled>,
}

/// What the reader's rule says.
#[derive(Debug, Serialize)]
struct Ruled {
    valid: u64,
    claims: u64,
    /// By reason.
    void: BTreeMap<&'static str, u64>,
    /// Number of the current term.
    term: Option<u64>,
}

pub(crate) async fn stats(
    State(operators): State<Shared>,
    Path(name): Path<String>,
    Parameters(query): Parameters<Query>,
) -> Result<Json<Stats>, Problem> {
    let topic = topic(&name)?;
    let partitions = scope(topic, query.partition)?;
    let counted = blocking(move || count(&operators, topic, &partitions)).await?;
    counted.map(Json).map_err(|error| unreadable(&error))
}

fn count(operators: &Shared, topic: &'static Topic, partitions: &[Partition]) -> Result<Stats, LogError> {
    let deadline = operators.surveys.deadline();
    let mut rows = Vec::new();
    for &partition in partitions {
        let survey = operators.surveys.of(partition);
        let mut survey = survey.lock();
        let end = operators.log.end(partition)?;
        let reading = Reading { log: &*operators.log, partition, to: end, deadline };
        let (tally, read_to) = survey.tally(&reading)?;
        let ruled = is_ruled(topic).then(|| Ruled {
            valid: tally.valid,
            claims: tally.claims,
            void: tally.void,
            term: tally.terms.current.map(|term| term.number),
        });
        rows.push(Row {
            partition: partition.number,
            end,
            read_to,
            records: tally.records,
            bytes: tally.bytes,
            first: tally.first.map(time),
            last: tally.last.map(time),
            ruled,
        });
    }
    Ok(Stats { topic: topic.name, complete: rows.iter().all(|row| row.read_to >= row.end), partitions: rows })
}
