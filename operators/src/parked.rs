//! `/v1/parked`: events that cannot be applied, and what becomes of them. See [`projections::parking`].

mod change;
mod key;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use projections::StoreError;
use projections::parking::{ParkedEvent, ParkedKey, Parking, Queue};
use projections::views::NAMES;
use serde::{Deserialize, Serialize};

pub(crate) use self::change::{correct, discard, given, retry};
use self::key::KeyText;
use crate::parameters::{Parameters, limit};
use crate::problem::{NOT_PARKED, Problem, VIEW_NOT_FOUND, VIEW_UNAVAILABLE};
use crate::range::time;
use crate::server::Shared;

/// What is parked of one aggregate, and why: what its first event says.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    view: &'static str,
    #[serde(flatten)]
    key: KeyText,
    /// How many of its events wait.
    events: u64,
    /// Operators want it tried again, and the projector has not come to it yet.
    wanted: bool,
    #[serde(flatten)]
    first: Brief,
}

/// An event that waits, without its bytes.
#[derive(Debug, Serialize)]
struct Brief {
    offset: u64,
    r#type: String,
    event_id: String,
    /// `unreadable`, `fold_panicked`, `refused` or `behind`.
    cause: &'static str,
    detail: String,
    parked_at: String,
    attempts: u32,
    tried_at: String,
}

impl From<&ParkedEvent> for Brief {
    fn from(event: &ParkedEvent) -> Self {
        let envelope = event.envelope().ok();
        let text = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
        Self {
            offset: event.place.1,
            r#type: text(envelope.as_ref().map(|envelope| envelope.record_type.to_string())),
            event_id: text(envelope.map(|envelope| envelope.id.to_string())),
            cause: event.cause.kind(),
            detail: event.cause.detail().to_owned(),
            parked_at: time(event.parked_at),
            attempts: event.attempts,
            tried_at: time(event.tried_at),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    view: Option<String>,
    limit: Option<u64>,
}

/// Some of what is parked.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    data: Vec<Item>,
    /// Aggregates whose events are parked, in all.
    total: u64,
}

/// `GET /v1/parked`
pub(crate) async fn list(
    State(operators): State<Shared>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<List>, Problem> {
    let mut left = limit(query.limit)?;
    let mut list = List { data: Vec::new(), total: 0 };
    for view in named(query.view.as_deref())? {
        let parking = parking(&operators, view)?;
        let keys = parking.parked().await.map_err(unavailable)?.keys;
        list.total += keys.len() as u64;
        for (key, queue) in keys {
            if left == 0 {
                break;
            }
            // One that was applied in the meantime has none.
            if let Some(item) = item(view, parking, &key, queue).await? {
                left -= 1;
                list.data.push(item);
            }
        }
    }
    Ok(Json(list))
}

async fn item(
    view: &'static str,
    parking: &dyn Parking,
    key: &ParkedKey,
    Queue { events, wanted }: Queue,
) -> Result<Option<Item>, Problem> {
    let first = parking.events(Some(key), 1).await.map_err(unavailable)?;
    Ok(first.first().map(|first| Item { view, key: key.into(), events, wanted, first: first.into() }))
}

/// Aggregates that wait for the same reason.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    view: &'static str,
    cause: &'static str,
    r#type: String,
    /// The reason, numbers and names of single events left out.
    detail: String,
    keys: u64,
    events: u64,
    /// When the first was parked.
    since: String,
    /// One of them.
    sample: KeyText,
}

/// All groups, the largest first.
#[derive(Debug, Serialize)]
pub(crate) struct Groups {
    data: Vec<Group>,
}

/// `GET /v1/parked/groups`: what goes wrong, rather than where.
pub(crate) async fn groups(
    State(operators): State<Shared>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Groups>, Problem> {
    let mut groups: BTreeMap<(&'static str, &'static str, String, String), Group> = BTreeMap::new();
    for view in named(query.view.as_deref())? {
        let parking = parking(&operators, view)?;
        for (key, queue) in parking.parked().await.map_err(unavailable)?.keys {
            let Some(Item { key, events, first, .. }) = item(view, parking, &key, queue).await? else { continue };
            let Brief { r#type, cause, detail, parked_at: since, .. } = first;
            let detail = fingerprint(&detail);
            let name = (view, cause, r#type.clone(), detail.clone());
            let new = Group { view, cause, r#type, detail, keys: 0, events: 0, since: since.clone(), sample: key };
            let group = groups.entry(name).or_insert(new);
            group.keys += 1;
            group.events += events;
            group.since = since.min(std::mem::take(&mut group.since));
        }
    }
    let mut data: Vec<Group> = groups.into_values().collect();
    data.sort_by_key(|group| std::cmp::Reverse(group.keys));
    Ok(Json(Groups { data }))
}

/// What a reason has in common with others of its kind: digits, and words with a digit in them, are left out.
fn fingerprint(detail: &str) -> String {
    let word = |word: &str| if word.contains(|c: char| c.is_ascii_digit()) { "#".to_owned() } else { word.to_owned() };
    detail.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowQuery {
    view: String,
    partition: String,
    key: String,
    limit: Option<u64>,
}

/// Everything that waits of one aggregate.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    view: &'static str,
    #[serde(flatten)]
    key: KeyText,
    data: Vec<Event>,
}

#[derive(Debug, Serialize)]
struct Event {
    #[serde(flatten)]
    brief: Brief,
    time: String,
    headers: BTreeMap<String, String>,
    /// Base64.
    payload: String,
}

/// `GET /v1/parked/events`: the events of one aggregate, in their order, with their bytes.
pub(crate) async fn show(
    State(operators): State<Shared>,
    Parameters(query): Parameters<ShowQuery>,
) -> Result<Json<Shown>, Problem> {
    let view = view(&query.view)?;
    let key = key::parse(&query.partition, &query.key)?;
    let limit = usize::try_from(limit(query.limit)?).unwrap_or(usize::MAX);
    let events = parking(&operators, view)?.events(Some(&key), limit).await.map_err(unavailable)?;
    if events.is_empty() {
        return Err(not_parked(view, &key));
    }
    let event = |event: &ParkedEvent| Event {
        brief: event.into(),
        time: time(event.timestamp),
        headers: {
            let headers = event.record.headers.iter();
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value).into_owned())).collect()
        },
        payload: STANDARD.encode(&event.record.payload),
    };
    Ok(Json(Shown { view, key: (&key).into(), data: events.iter().map(event).collect() }))
}

pub(crate) fn view(name: &str) -> Result<&'static str, Problem> {
    let known = NAMES.iter().find(|known| **known == name).copied();
    known.ok_or_else(|| Problem::new(&VIEW_NOT_FOUND, format!("{name:?} is none of {}", NAMES.join(", "))))
}

pub(crate) fn named(name: Option<&str>) -> Result<Vec<&'static str>, Problem> {
    name.map_or_else(|| Ok(NAMES.to_vec()), |name| Ok(vec![view(name)?]))
}

fn parking<'o>(operators: &'o Shared, name: &str) -> Result<&'o dyn Parking, Problem> {
    operators.views.parking(name).ok_or_else(|| Problem::new(&VIEW_NOT_FOUND, name))
}

fn not_parked(view: &str, key: &ParkedKey) -> Problem {
    let KeyText { partition, key } = key.into();
    Problem::new(&NOT_PARKED, format!("{view} has no such event of {key} in {partition}"))
}

#[allow(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
pub(crate) fn unavailable(error: StoreError) -> Problem {
    Problem::caused(&VIEW_UNAVAILABLE, &error).retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_numbers_alone_are_one() {
        let one = fingerprint("schema 7 cannot be had for 3fa85f64-5717");
        assert_eq!(one, fingerprint("schema 81 cannot be had for 0c-1"));
        assert_ne!(one, fingerprint("schema 7 cannot be read for 3fa85f64-5717"));
    }
}
