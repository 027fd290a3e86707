//! The query.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::{INVALID_QUERY, Problem};

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
