//! `GET /v1/audit`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::{Entry, Page, Recorded};
use crate::parameters::{Parameters, blocking, limit};
use crate::problem::{LOG_UNAVAILABLE, Problem};
use crate::range::time;
use crate::server::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    after: Option<u64>,
    limit: Option<u64>,
}

/// Entries, the newest first.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    data: Vec<Item>,
    /// What to send as `after` for older ones.
    next: Option<u64>,
    has_more: bool,
}

#[derive(Debug, Serialize)]
struct Item {
    offset: u64,
    time: String,
    #[serde(flatten)]
    entry: Option<Entry>,
    /// Why the record is not an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) async fn list(
    State(operators): State<Shared>,
    Parameters(query): Parameters<Query>,
) -> Result<Json<List>, Problem> {
    let limit = limit(query.limit)?;
    let read = blocking(move || operators.audit.page(query.after, limit)).await?;
    let Page { entries, next } = read.map_err(|error| Problem::caused(&LOG_UNAVAILABLE, &error))?;
    Ok(Json(List { data: entries.into_iter().map(Item::from).collect(), has_more: next.is_some(), next }))
}

impl From<Recorded> for Item {
    fn from(Recorded { offset, time: at, entry }: Recorded) -> Self {
        let (entry, error) = match entry {
            Ok(entry) => (Some(entry), None),
            Err(error) => (None, Some(error)),
        };
        Self { offset, time: time(at), entry, error }
    }
}
