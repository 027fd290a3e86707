//! What answers to questions have in common.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{HeaderName, HeaderValue};
use domain::Timestamp;
use domain::ids::InvalidValue;
use eventlog::Partition;
use projections::parking::ParkedKey;
use projections::views::Page;
use projections::{Progress, StoreError};
use schemas::Topic;
use serde::Serialize;

use crate::consistency::{CONSISTENCY_TOKEN, Token};
use crate::params::bad_parameter;
use crate::problem::{Kind, Problem, VIEW_UNAVAILABLE};

/// Says that events of what was asked for are parked: the answer does not show them.
pub const PARKED: HeaderName = HeaderName::from_static("lonja-parked");

/// One page of a list.
#[derive(Serialize)]
pub struct List<T> {
    data: Vec<T>,
    /// What to send as `after` for the next page.
    next: Option<String>,
    has_more: bool,
}

impl<T> List<T> {
    /// The page that a view found.
    pub fn of<R, C: Display>(page: Page<R, C>, show: impl FnMut(R) -> T) -> Self {
        let next = page.next.map(|cursor| cursor.to_string());
        Self { data: page.rows.into_iter().map(show).collect(), has_more: next.is_some(), next }
    }
}

/// Where a page goes on.
///
/// # Errors
/// `invalid_query` for what was not given out as `next`.
pub fn cursor<C: FromStr>(after: Option<&str>) -> Result<Option<C>, Problem> {
    after.map(str::parse).transpose().map_err(|_| {
        let detail = "send what the page before gave as next".into();
        bad_parameter("after", InvalidValue { code: "invalid_cursor", detail })
    })
}

/// `response`, with the position that it reflects.
#[must_use]
pub fn found(mut response: Response<Body>, reflected: &Token) -> Response<Body> {
    response.headers_mut().extend(reflected.to_header().map(|token| (CONSISTENCY_TOKEN, token)));
    response
}

/// Whether events of the aggregate called `key` are parked in `view`.
#[must_use]
pub fn is_parked(progress: &Progress, view: &str, topic: &'static Topic, key: &str) -> bool {
    let parked = progress.parked(view);
    let key = || ParkedKey { partition: Partition::of(topic, key.as_bytes()), key: key.as_bytes().to_vec().into() };
    !parked.is_empty() && parked.contains(&key())
}

/// The header that says so; none where it is not so.
#[must_use]
pub fn parked_header(parked: bool) -> Option<(HeaderName, HeaderValue)> {
    parked.then_some((PARKED, HeaderValue::from_static("true")))
}

/// Nothing is there as of the position that the answer reflects.
#[must_use]
pub fn absent(kind: &'static Kind, detail: &str, reflected: &Token, parked: bool) -> Problem {
    let token = reflected.to_header().map(|token| (CONSISTENCY_TOKEN, token));
    let headers = token.into_iter().chain(parked_header(parked));
    headers.fold(Problem::new(kind, detail), |problem, (name, value)| problem.with_header(name, value))
}

/// A store that did not answer. Logged here, once: the caller cannot do anything about the reason.
#[must_use]
pub fn failed(error: StoreError) -> Problem {
    tracing::error!(error = &error as &(dyn Error + 'static), "reading a view failed");
    Problem::new(&VIEW_UNAVAILABLE, "the page's store does not answer").retry_after(1)
}

/// RFC 3339, in UTC.
#[must_use]
pub fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |time| time.to_string())
}
