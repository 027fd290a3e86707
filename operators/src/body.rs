//! The body of a request.

use axum::Json;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use crate::problem::{MALFORMED_REQUEST, Problem};

/// A body of JSON. Its type denies unknown fields.
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(body) = Json::from_request(request, state)
            .await
            .map_err(|rejection| Problem::new(&MALFORMED_REQUEST, rejection.body_text()))?;
        Ok(Self(body))
    }
}
