//! `GET /v1/log/{topic}`

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use domain::Timestamp;
use eventlog::{Partition, Stored, Verdict};
use schemas::Topic;
use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use super::record::Item;
use super::survey::{Reached, Reading, Start};
use super::{scope, topic, unreadable};
use crate::parameters::{Parameters, blocking, limit};
use crate::problem::{INVALID_QUERY, OFFSET_OUT_OF_RANGE, Problem, STILL_READING};
use crate::server::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    partition: Option<u32>,
    /// An offset, or positions such as `0@17,3@4`.
    from: Option<String>,
    /// RFC 3339.
    since: Option<String>,
    key: Option<String>,
    limit: Option<u64>,
}

/// Records in the log's order; those of several partitions by the log's time.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    topic: &'static str,
    data: Vec<Item>,
    /// What to send as `from` to go on.
    next: String,
    /// There is more now.
    has_more: bool,
}

/// What is asked for.
struct Ask {
    topic: &'static Topic,
    /// From where on in each partition; the newest records where that is not said.
    starts: Vec<(Partition, Option<Start>)>,
    key: Option<String>,
    limit: usize,
}

/// What was found in one partition.
struct Found {
    partition: Partition,
    records: VecDeque<(Stored, Option<Verdict>)>,
    reached: Reached,
    end: u64,
}

pub(crate) async fn list(
    State(operators): State<Shared>,
    Path(name): Path<String>,
    Parameters(query): Parameters<Query>,
) -> Result<Json<Page>, Problem> {
    let ask = Ask::of(topic(&name)?, query)?;
    blocking(move || answer(&operators, &ask)).await?.map(Json)
}

impl Ask {
    fn of(topic: &'static Topic, query: Query) -> Result<Self, Problem> {
        let bad = |detail: &str| Problem::new(&INVALID_QUERY, detail);
        let limit = usize::try_from(limit(query.limit)?).unwrap_or(usize::MAX);
        let at = |number| scope(topic, Some(number)).map(|partitions| partitions[0]);
        let by_key = query.key.as_ref().map(|key| topic.partition_of(key.as_bytes()));
        if let (Some(named), Some(of_key)) = (query.partition, by_key)
            && named != of_key
        {
            return Err(bad(&format!("partition: records of this key are in partition {of_key}")));
        }
        let partitions = scope(topic, query.partition.or(by_key))?;
        let all = |start| partitions.iter().map(move |partition| (*partition, start)).collect();
        let starts = match (&query.from, &query.since) {
            (Some(_), Some(_)) => return Err(bad("since: a question has from or since")),
            (None, Some(since)) => {
                let time: Result<jiff::Timestamp, _> = since.parse();
                let time = time.map_err(|_| bad("since: it is a time such as 2026-01-31T12:00:00Z"))?;
                all(Some(Start::Since(Timestamp(time.as_millisecond()))))
            }
            (Some(from), None) => match (from.parse(), from.parse::<Cursor>()) {
                (Ok(offset), _) if partitions.len() == 1 || offset == 0 => all(Some(Start::Offset(offset))),
                (Ok(_), _) => return Err(bad("from: an offset needs a partition")),
                (_, Ok(Cursor(positions))) => {
                    let start = |(number, offset)| Ok((at(number)?, Some(Start::Offset(offset))));
                    positions.into_iter().map(start).collect::<Result<_, Problem>>()?
                }
                _ => return Err(bad("from: it is an offset, or what the page before gave as next")),
            },
            // The history of a key begins at its beginning.
            (None, None) => all(query.key.is_some().then_some(Start::Offset(0))),
        };
        Ok(Self { topic, starts, key: query.key, limit })
    }

    fn wants(&self, stored: &Stored) -> bool {
        self.key.as_ref().is_none_or(|key| key.as_bytes() == stored.record.key)
    }
}

fn answer(operators: &Shared, ask: &Ask) -> Result<Page, Problem> {
    let deadline = operators.surveys.deadline();
    let mut found = Vec::new();
    for &(partition, start) in &ask.starts {
        found.push(find(operators, ask, partition, start, deadline)?);
    }
    if found.iter().any(|found| !found.reached.begun) {
        let (read_to, of) = found.iter().fold((0, 0), |sum, found| (sum.0 + found.reached.next, sum.1 + found.end));
        let detail = "whether a record counts depends on all before it; ask again to go on reading";
        return Err(Problem::new(&STILL_READING, detail).fact("read_to", read_to).fact("of", of).retry_after(0));
    }
    let newest = ask.starts.iter().all(|(_, start)| start.is_none());
    let records = merge(&mut found, ask.limit, newest);
    let next = |found: &Found| {
        let cut = found.records.front().map(|(stored, _)| stored.offset);
        (found.partition.number, cut.unwrap_or(found.reached.next))
    };
    let next: Vec<_> = found.iter().map(next).collect();
    let has_more = next.iter().zip(&found).any(|((_, next), found)| *next < found.end);
    let data = records.iter().map(|(stored, verdict)| Item::of(stored, *verdict, &operators.codec)).collect();
    Ok(Page { topic: ask.topic.name, data, next: Cursor(next).to_string(), has_more })
}

fn find(
    operators: &Shared,
    ask: &Ask,
    partition: Partition,
    start: Option<Start>,
    deadline: Instant,
) -> Result<Found, Problem> {
    // The end is asked for behind the lock: one that is older than what somebody else has read would look like a lost tail.
    let survey = operators.surveys.of(partition);
    let mut survey = survey.lock();
    let end = operators.log.end(partition).map_err(|error| unreadable(&error))?;
    let start = start.unwrap_or_else(|| Start::Offset(end.saturating_sub(ask.limit as u64)));
    if let Start::Offset(offset) = start
        && offset > end
    {
        let detail = format!("{partition} ends at {end}, before {offset}");
        return Err(Problem::new(&OFFSET_OUT_OF_RANGE, detail).fact("end", end));
    }
    let mut records = VecDeque::new();
    let reached = if start == Start::Offset(end) {
        Reached { next: end, begun: true }
    } else {
        let reading = Reading { log: &*operators.log, partition, to: end, deadline };
        let mut visit = |stored: Stored, verdict| {
            if ask.wants(&stored) {
                records.push_back((stored, verdict));
            }
            if records.len() < ask.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let shown = survey.show(&reading, start, &mut visit);
        shown.map_err(|error| unreadable(&error))?
    };
    Ok(Found { partition, records, reached, end })
}

/// Up to `limit` records by the log's time, each partition in its own order. What is not taken stays; of the `newest`
/// records the others are left out.
fn merge(found: &mut [Found], limit: usize, newest: bool) -> Vec<(Stored, Option<Verdict>)> {
    let mut left: usize = found.iter().map(|found| found.records.len()).sum();
    let mut taken = Vec::new();
    while taken.len() < limit {
        let heads = found.iter_mut().filter(|found| !found.records.is_empty());
        let Some(first) = heads.min_by_key(|found| found.records[0].0.timestamp) else { break };
        let record = first.records.pop_front();
        if !newest || left <= limit {
            taken.extend(record);
        }
        left -= 1;
    }
    taken
}
