//! What operators decide of parked events. It is on record first; then it is a wish in the view's store, and the projector
//! carries it out within a second.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use projections::generations::now;
use projections::parking::{ParkedEvent, ParkedKey, Resolution, Verdict, Wishes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::key::{self, KeyText};
use super::{not_parked, parking, unavailable, view};
use crate::audit::Deed;
use crate::body::Body;
use crate::operator::Operator;
use crate::problem::{CORRECTION_INVALID, INVALID_REQUEST, Problem};
use crate::server::Shared;

/// Most events of one aggregate that are discarded at a time.
const DISCARD_MAX: usize = 1_000;

/// What is to be tried again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    view: String,
    /// One aggregate; with neither, all that are parked.
    partition: Option<String>,
    key: Option<String>,
    /// Only those whose first event has this cause.
    cause: Option<String>,
    /// At most so many.
    limit: Option<u64>,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
    reason: String,
}

/// What is to be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discard {
    view: String,
    partition: String,
    key: String,
    /// One event; without it, all that are parked of the aggregate.
    offset: Option<u64>,
    reason: String,
}

/// What is to be read instead.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Correct {
    view: String,
    partition: String,
    key: String,
    offset: u64,
    /// The event as JSON, by the schema of its type.
    event: Value,
    reason: String,
}

/// What is wished now.
#[derive(Debug, Serialize)]
pub(crate) struct Wished {
    view: &'static str,
    /// Aggregates that will be tried again.
    keys: Vec<KeyText>,
    /// It was only asked what would be done.
    dry_run: bool,
}

type Accepted = Result<(StatusCode, Json<Wished>), Problem>;

/// `POST /v1/parked/retry`
pub(crate) async fn retry(State(operators): State<Shared>, operator: Operator, Body(body): Body<Retry>) -> Accepted {
    let view = view(&body.view)?;
    let reason = given(&body.reason)?;
    let parking = parking(&operators, view)?;
    let mut keys = match (&body.partition, &body.key) {
        (Some(partition), Some(key)) => vec![key::parse(partition, key)?],
        (None, None) => parking.parked().await.map_err(unavailable)?.keys.into_keys().collect(),
        _ => return Err(Problem::new(&INVALID_REQUEST, "partition and key come together")),
    };
    if body.cause.is_some() || body.key.is_some() {
        let mut some = Vec::new();
        for key in keys {
            let first = parking.events(Some(&key), 1).await.map_err(unavailable)?;
            let Some(first) = first.first() else {
                if body.key.is_some() { return Err(not_parked(view, &key)) } else { continue }
            };
            if body.cause.as_deref().is_none_or(|cause| first.cause.kind() == cause) {
                some.push(key);
            }
        }
        keys = some;
    }
    keys.truncate(body.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
    if body.dry_run || keys.is_empty() {
        return Ok((StatusCode::OK, Json(Wished { view, keys: texts(&keys), dry_run: body.dry_run })));
    }
    let after = json!({ "keys": texts(&keys) });
    wish(&operators, &operator, ("parked retry", view, reason), (Value::Null, after), keys, Vec::new()).await
}

/// `POST /v1/parked/discard`
pub(crate) async fn discard(
    State(operators): State<Shared>,
    operator: Operator,
    Body(body): Body<Discard>,
) -> Accepted {
    let (view, reason) = (view(&body.view)?, given(&body.reason)?);
    let key = key::parse(&body.partition, &body.key)?;
    let events = parking(&operators, view)?.events(Some(&key), DISCARD_MAX).await.map_err(unavailable)?;
    let events = events.into_iter().filter(|event| body.offset.is_none_or(|offset| event.place.1 == offset));
    let events: Vec<ParkedEvent> = events.collect();
    if events.is_empty() {
        return Err(not_parked(view, &key));
    }
    let resolve = events.iter().map(|event| resolution(event, Verdict::Discard, reason, &operator)).collect();
    let before = json!({ "key": KeyText::from(&key), "events": events.iter().map(told).collect::<Vec<_>>() });
    wish(&operators, &operator, ("parked discard", view, reason), (before, Value::Null), vec![key], resolve).await
}

/// `POST /v1/parked/correct`
pub(crate) async fn correct(
    State(operators): State<Shared>,
    operator: Operator,
    Body(body): Body<Correct>,
) -> Accepted {
    let (view, reason) = (view(&body.view)?, given(&body.reason)?);
    let key = key::parse(&body.partition, &body.key)?;
    let events = parking(&operators, view)?.events(Some(&key), DISCARD_MAX).await.map_err(unavailable)?;
    let event = events.iter().find(|event| event.place.1 == body.offset).ok_or_else(|| not_parked(view, &key))?;
    let invalid = |error: &dyn std::error::Error| Problem::caused(&CORRECTION_INVALID, error);
    let envelope = event.envelope().map_err(|error| invalid(&error))?;
    let payload = operators.codec.encode_json(&envelope.record_type, key.partition.topic, &body.event);
    let payload = payload.map_err(|error| invalid(&error))?;
    let resolve = vec![resolution(event, Verdict::Correct(payload), reason, &operator)];
    let before = json!({ "key": KeyText::from(&key), "events": [told(event)] });
    wish(&operators, &operator, ("parked correct", view, reason), (before, body.event), vec![key], resolve).await
}

/// Puts it on record, then into the store.
async fn wish(
    operators: &Shared,
    operator: &Operator,
    (verb, view, reason): (&'static str, &'static str, &str),
    (before, after): (Value, Value),
    retry: Vec<ParkedKey>,
    resolve: Vec<Resolution>,
) -> Accepted {
    let (verb, target, reason) = (verb.to_owned(), view.to_owned(), reason.to_owned());
    operators.audit.record(operator, Deed { verb, target, reason, before, after }).await?;
    let keys = texts(&retry);
    parking(operators, view)?.wish(Wishes { retry, resolve }).await.map_err(unavailable)?;
    Ok((StatusCode::ACCEPTED, Json(Wished { view, keys, dry_run: false })))
}

fn resolution(event: &ParkedEvent, verdict: Verdict, reason: &str, operator: &Operator) -> Resolution {
    Resolution {
        place: event.place,
        verdict,
        reason: reason.to_owned(),
        operator: operator.as_str().to_owned(),
        at: now(),
    }
}

fn told(event: &ParkedEvent) -> Value {
    json!({ "offset": event.place.1, "cause": event.cause })
}

fn texts(keys: &[ParkedKey]) -> Vec<KeyText> {
    keys.iter().map(KeyText::from).collect()
}

pub(crate) fn given(reason: &str) -> Result<&str, Problem> {
    let reason = reason.trim();
    if reason.is_empty() { Err(Problem::new(&INVALID_REQUEST, "reason: say why")) } else { Ok(reason) }
}
