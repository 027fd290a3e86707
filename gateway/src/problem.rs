//! Every error that a caller can meet: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! This is the only place that knows which error has which status. Each code has a page, `docs/errors/<code>.md`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use domain::ids::InvalidValue;
use schemas::Refusal;
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
    MALFORMED_REQUEST 400 "malformed_request" "The body is not JSON of the shape that is expected here"
    INVALID_PATH 400 "invalid_path" "A part of the path is not what is expected there"
    INVALID_QUERY 400 "invalid_query" "The query is not what is expected here"
    IDEMPOTENCY_KEY_MISSING 400 "idempotency_key_missing" "The header Idempotency-Key is required"
    IDEMPOTENCY_KEY_INVALID 400 "idempotency_key_invalid" "The header Idempotency-Key is not 1 to 255 visible ASCII characters"
    INVALID_IF_MATCH 400 "invalid_if_match" "The header If-Match is not a version"
    INVALID_CONSISTENCY_TOKEN 400 "invalid_consistency_token" "The header Consistency-Token is not one that was given out"
    ROUTE_NOT_FOUND 404 "route_not_found" "There is nothing at this path"
    ORDER_NOT_FOUND 404 "order_not_found" "There is no such order"
    STOCK_ITEM_NOT_FOUND 404 "stock_item_not_found" "There is no stock of this SKU"
    RESERVATION_NOT_FOUND 404 "reservation_not_found" "There is no such open reservation"
    COMMAND_UNKNOWN 404 "command_unknown" "No command is known by this key"
    METHOD_NOT_ALLOWED 405 "method_not_allowed" "The path does not know this method"
    REQUEST_TIMEOUT 408 "request_timeout" "The body did not arrive in time"
    OUT_OF_STOCK 409 "out_of_stock" "Fewer units are available than were requested"
    ORDER_ALREADY_PLACED 409 "order_already_placed" "An order with this id and other content exists"
    RESERVATION_CONFLICT 409 "reservation_conflict" "A reservation with this id and another quantity exists"
    RECEIPT_CONFLICT 409 "receipt_conflict" "A delivery with this reference and another quantity was booked"
    REFUSED 409 "refused" "The command was refused"
    VERSION_CONFLICT 412 "version_conflict" "The version is not the one that If-Match names"
    BODY_TOO_LARGE 413 "body_too_large" "The body is too large"
    EVENT_TOO_LARGE 413 "event_too_large" "What would be recorded is too large"
    URI_TOO_LONG 414 "uri_too_long" "The path and query are too long"
    UNSUPPORTED_MEDIA_TYPE 415 "unsupported_media_type" "The body is not application/json"
    INVALID_REQUEST 422 "invalid_request" "A value is not one that is allowed"
    KEY_REUSED 422 "key_reused" "The idempotency key was used for another request"
    AMOUNT_OVERFLOW 422 "amount_overflow" "An amount exceeds what can be represented"
    QUANTITY_OVERFLOW 422 "quantity_overflow" "A quantity exceeds what can be represented"
    INTERNAL_ERROR 500 "internal_error" "Something is wrong on our side"
    AGGREGATE_PARKED 500 "aggregate_parked" "The history of this object cannot be read; it is set aside"
    BUSY 503 "busy" "Too many commands are waiting; nothing was begun"
    NOT_READY 503 "not_ready" "Nobody decides on this object at the moment; nothing was begun"
    NOT_YET_VISIBLE 503 "not_yet_visible" "The page does not show that write yet"
    VIEW_UNAVAILABLE 503 "view_unavailable" "The page cannot be read at the moment"
    OUTCOME_UNKNOWN 504 "outcome_unknown" "The outcome is not known yet; ask again with the same key, it is safe"
}

/// Longest detail that is sent, in characters: it may repeat what the caller sent.
const DETAIL_CHARS_MAX: usize = 300;

/// An error on its way to a caller.
#[derive(Debug)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: &'static Kind,
    code: Cow<'static, str>,
    detail: String,
    errors: Vec<InputError>,
    facts: BTreeMap<String, i64>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is wrong with one part of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputError {
    /// JSON Pointer into the body; `?name` for a parameter of the query, `{name}` for a part of the path.
    pub pointer: String,
    /// Stable name of the rule that was broken.
    pub code: &'static str,
    /// What the rule is, in words.
    pub detail: String,
}

impl InputError {
    /// `invalid` at `pointer`.
    #[must_use]
    pub fn new(pointer: impl Into<String>, invalid: InvalidValue) -> Self {
        Self { pointer: pointer.into(), code: invalid.code, detail: invalid.detail }
    }
}

impl Problem {
    /// An error of this kind, with what it is this time.
    #[must_use]
    pub fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
            detail.truncate(end);
            detail.push('…');
        }
        let code = Cow::Borrowed(kind.code);
        Self(Box::new(Inner { kind, code, detail, errors: Vec::new(), facts: BTreeMap::new(), headers: Vec::new() }))
    }

    /// An error in the input.
    #[must_use]
    pub fn input(kind: &'static Kind, detail: impl Into<String>, errors: Vec<InputError>) -> Self {
        let mut problem = Self::new(kind, detail);
        problem.0.errors = errors;
        problem
    }

    /// A recorded "no". A code that this build does not know (a newer build recorded it) is a conflict.
    #[must_use]
    pub fn refusal(refusal: &Refusal) -> Self {
        let kind = KINDS.iter().find(|kind| kind.code == refusal.code).unwrap_or(&REFUSED);
        let mut problem = Self::new(kind, refusal.detail.clone());
        problem.0.code = Cow::Owned(refusal.code.clone());
        problem.0.facts.clone_from(&refusal.facts);
        problem
    }

    /// What is wrong with the input.
    #[must_use]
    pub fn errors(&self) -> &[InputError] {
        &self.0.errors
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Asks the caller to wait `seconds` before the next attempt.
    #[must_use]
    pub fn retry_after(self, seconds: u16) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }
}

#[derive(Serialize)]
struct Body<'p> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'p str,
    code: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'p [InputError],
    #[serde(flatten)]
    facts: &'p BTreeMap<String, i64>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Inner { kind, code, detail, errors, facts, headers } = *self.0;
        let body = Body {
            r#type: format!("/errors/{code}"),
            title: kind.title,
            status: kind.status,
            detail: &detail,
            code: &code,
            trace_id: runtime::telemetry::trace_id(),
            errors: &errors,
            facts: &facts,
        };
        // Text and integers: writing them cannot fail. Were it to, the status still says what happened.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let status = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, bytes).into_response();
        let to = response.headers_mut();
        to.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in headers {
            to.insert(name, value);
        }
        response
    }
}

/// Answers where there is no route.
pub async fn route_not_found(uri: Uri) -> Problem {
    Problem::new(&ROUTE_NOT_FOUND, format!("{} is not a path of this service", uri.path()))
}

/// Answers where the route does not know the method; the router adds `Allow`.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(&METHOD_NOT_ALLOWED, format!("{} does not know {method}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique() {
        let codes: std::collections::BTreeSet<_> = KINDS.iter().map(|kind| kind.code).collect();
        assert_eq!(codes.len(), KINDS.len());
    }

    #[test]
    fn the_detail_does_not_repeat_all_that_was_sent() {
        let problem = Problem::new(&MALFORMED_REQUEST, "ä".repeat(10_000));
        assert_eq!(problem.0.detail.chars().count(), DETAIL_CHARS_MAX + 1);
    }
}
