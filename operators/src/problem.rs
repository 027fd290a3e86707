//! Every error that an operator can meet: `application/problem+json` (RFC 9457) with a stable `code`, as the public API has
//! them. This is the only place here that knows which error has which status. Each code has a page, `docs/errors/<code>.md`.

use std::any::Any;
use std::collections::BTreeMap;

use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// One kind of error.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its stable name.
    pub code: &'static str,
    /// Its status.
    pub status: u16,
    /// What it is, the same words each time.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($name:ident $status:literal $code:literal $title:literal)*) => {
        $(#[doc = $title] pub const $name: Kind = Kind { code: $code, status: $status, title: $title };)*

        /// Every kind of error.
        pub static KINDS: &[Kind] = &[$($name),*];
    };
}

kinds! {
    INVALID_QUERY 400 "invalid_query" "The query is not what is expected here"
    MALFORMED_REQUEST 400 "malformed_request" "The body is not JSON of the shape that is expected here"
    OPERATOR_MISSING 400 "operator_missing" "The header Lonja-Operator is required"
    OPERATOR_INVALID 400 "operator_invalid" "The header Lonja-Operator is not a name"
    VIEW_NOT_FOUND 404 "view_not_found" "There is no such view"
    NOT_PARKED 404 "not_parked" "No such event is parked"
    GENERATION_NOT_FOUND 404 "generation_not_found" "There is no such generation"
    ROUTE_NOT_FOUND 404 "route_not_found" "There is nothing at this path"
    TOPIC_NOT_FOUND 404 "topic_not_found" "There is no such topic"
    OFFSET_OUT_OF_RANGE 404 "offset_out_of_range" "The log has no such offset"
    METHOD_NOT_ALLOWED 405 "method_not_allowed" "The path does not know this method"
    GENERATION_IN_USE 409 "generation_in_use" "The generation is not in a state that allows it"
    GENERATION_BEHIND 409 "generation_behind" "The generation has not caught up"
    SCOPE_UNFIT 409 "scope_unfit" "The view cannot be folded from that part of the log"
    INVALID_REQUEST 422 "invalid_request" "A value is not one that is allowed"
    CORRECTION_INVALID 422 "correction_invalid" "The correction is not an event of this type"
    INTERNAL_ERROR 500 "internal_error" "Something is wrong on our side"
    AUDIT_UNAVAILABLE 503 "audit_unavailable" "It could not be recorded who does this; nothing was done"
    VIEW_UNAVAILABLE 503 "view_unavailable" "The page cannot be read at the moment"
    LOG_UNAVAILABLE 503 "log_unavailable" "The log cannot be read at the moment"
    STILL_READING 503 "still_reading" "The log is being read up to there; ask again"
}

/// An error on its way to a caller.
#[derive(Debug)]
pub struct Problem {
    kind: &'static Kind,
    detail: String,
    facts: BTreeMap<&'static str, u64>,
    retry_after: Option<u16>,
}

impl Problem {
    /// An error of this kind, with what it is this time.
    #[must_use]
    pub fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), facts: BTreeMap::new(), retry_after: None }
    }

    /// A number behind the error, by name.
    #[must_use]
    pub fn fact(mut self, name: &'static str, value: u64) -> Self {
        self.facts.insert(name, value);
        self
    }

    /// Asks the caller to wait `seconds` before the next attempt.
    #[must_use]
    pub fn retry_after(self, seconds: u16) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Its stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind.code
    }

    /// `error` and what caused it: an operator can do something about the reason.
    #[must_use]
    pub fn caused(kind: &'static Kind, error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        Self::new(kind, causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
    }
}

#[derive(Serialize)]
struct Body<'p> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'p str,
    code: &'static str,
    #[serde(flatten)]
    facts: &'p BTreeMap<&'static str, u64>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Kind { code, status, title } = *self.kind;
        let body =
            Body { r#type: format!("/errors/{code}"), title, status, detail: &self.detail, code, facts: &self.facts };
        // Text and integers: writing them cannot fail. Were it to, the status still says what happened.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, bytes).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let wait = self.retry_after.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
        response.headers_mut().extend(wait);
        response
    }
}

/// Answers where there is no route.
pub async fn route_not_found(uri: Uri) -> Problem {
    Problem::new(&ROUTE_NOT_FOUND, format!("{} is not a path of the operators' API", uri.path()))
}

/// Answers where the route does not know the method; the router adds `Allow`.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(&METHOD_NOT_ALLOWED, format!("{} does not know {method}", uri.path()))
}

/// Answers for a handler that panicked, which must not happen, or whose work was cut short.
#[allow(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = words, "a handler of the operators' API panicked");
    Problem::new(&INTERNAL_ERROR, "the request could not be handled").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let codes: std::collections::BTreeSet<_> = KINDS.iter().map(|kind| kind.code).collect();
        assert_eq!(codes.len(), KINDS.len());
    }
}
