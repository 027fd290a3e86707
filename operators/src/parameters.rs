//! The query, and work that blocks.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::{INTERNAL_ERROR, INVALID_QUERY, Problem};

/// Items of an answer when the caller does not say.
const LIMIT_DEFAULT: u64 = 20;
/// Most items of one answer.
const LIMIT_MAX: u64 = 1_000;

/// The query. Its type denies unknown fields.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(parameters) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::new(&INVALID_QUERY, rejection.body_text()))?;
        Ok(Self(parameters))
    }
}

/// Runs what blocks (disks, clients of the log) beside the runtime.
///
/// # Errors
/// `internal_error` when it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::caused(&INTERNAL_ERROR, &error))
}

/// How many items the caller wants: 1 to 1000, or 20.
///
/// # Errors
/// `invalid_query`.
pub fn limit(limit: Option<u64>) -> Result<u64, Problem> {
    match limit.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(Problem::new(&INVALID_QUERY, format!("limit: it is 1 to {LIMIT_MAX}"))),
    }
}
