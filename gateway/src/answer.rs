//! From a request to a command's owner and back: sending, and the answer to a decision.

use std::fmt::Display;
use std::sync::Arc;

use ::commands::{Aggregate, CommandRequest, Decided, Decision, Router, SendError};
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, StatusCode};
use runtime::telemetry;
use schemas::Topic;
use serde::Serialize;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};

use crate::GatewayState;
use crate::consistency::{CONSISTENCY_TOKEN, Token};
use crate::edge::TRACEPARENT;
use crate::idempotency::IdempotencyKey;
use crate::problem::{AGGREGATE_PARKED, BUSY, INVALID_IF_MATCH, KEY_REUSED, NOT_READY, OUTCOME_UNKNOWN, Problem};

/// Says that this is the first answer again.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What the headers of a request say about its command.
pub struct Caller {
    /// Names the request.
    pub key: IdempotencyKey,
    /// The version on which the caller insists.
    pub expected_version: Option<u64>,
    traceparent: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let key = IdempotencyKey::from_request_parts(parts, state).await?;
        let expected_version = if_match(&parts.headers)?;
        let traceparent = parts.headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let traceparent = traceparent.filter(|text| telemetry::is_traceparent(text)).map(str::to_owned);
        Ok(Self { key, expected_version, traceparent })
    }
}

/// Reads `"v3"` as 3, and `*` as no condition.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let (Some(value), other) = (values.next(), values.next()) else {
        return Ok(None);
    };
    if value == "*" && other.is_none() {
        return Ok(None);
    }
    let version = value.to_str().ok().and_then(|text| text.strip_prefix("\"v")?.strip_suffix('"')?.parse().ok());
    match (version, other) {
        (Some(version), None) => Ok(Some(version)),
        _ => Err(Problem::new(&INVALID_IF_MATCH, "send one ETag as it was received, such as \"v3\", or *")),
    }
}

impl Caller {
    /// Sends the command to its owner and waits for the decision.
    ///
    /// # Errors
    /// When there is no definite answer.
    pub async fn send<A: Aggregate>(
        self,
        state: &GatewayState,
        router: &Router<A>,
        key: String,
        fingerprint: u128,
        command: Arc<A::Command>,
    ) -> Result<Decided<A::Event>, Problem> {
        let command_id = self.key.command_id();
        let span = if state.traces { decide_span(A::TOPIC) } else { Span::none() };
        // Where nothing is traced here, the caller's own trace still goes into the log.
        let traceparent = span.in_scope(telemetry::traceparent).or(self.traceparent);
        let request = CommandRequest {
            key,
            command_id,
            fingerprint,
            expected_version: self.expected_version,
            causation_id: command_id,
            correlation_id: command_id,
            traceparent,
            command,
        };
        let deadline = Instant::now() + state.limits.command_timeout;
        let sent = router.send(request, deadline).instrument(span.clone()).await;
        if let Ok(decided) = &sent {
            span.record("messaging.destination.partition.id", decided.position.partition.number);
            span.record("messaging.kafka.offset", decided.position.offset);
        }
        sent.map_err(no_answer)
    }
}

/// From the queue of the owner to the confirmed record: what views do with the record belongs under it.
fn decide_span(topic: &Topic) -> Span {
    info_span!(
        "decide and append",
        otel.kind = "producer",
        messaging.destination.name = topic.name,
        messaging.destination.partition.id = Empty,
        messaging.kafka.offset = Empty,
    )
}

fn no_answer(error: SendError) -> Problem {
    match error {
        SendError::Unknown => Problem::new(
            &OUTCOME_UNKNOWN,
            "the command may have been decided; ask again with the same Idempotency-Key, it is safe",
        ),
        SendError::Busy => Problem::new(&BUSY, "nothing was begun; try again in a moment").retry_after(1),
        SendError::NotReady => Problem::new(&NOT_READY, "nothing was begun; try again in a moment").retry_after(1),
        SendError::KeyReused => {
            Problem::new(&KEY_REUSED, "this Idempotency-Key named another request; choose a new one")
        }
        SendError::Parked(_) => {
            tracing::error!(%error, "a command met a parked aggregate");
            Problem::new(&AGGREGATE_PARKED, "operators know; nothing was decided")
        }
    }
}

/// A "yes" on its way to the caller.
pub struct Success {
    status: StatusCode,
    location: Option<String>,
    body: Vec<u8>,
}

impl Success {
    /// Something new is there.
    #[must_use]
    pub fn created(body: &impl Serialize) -> Self {
        Self { status: StatusCode::CREATED, location: None, body: bytes(body) }
    }

    /// It is so.
    #[must_use]
    pub fn ok(body: &impl Serialize) -> Self {
        Self { status: StatusCode::OK, location: None, body: bytes(body) }
    }

    /// With the path at which the new thing is.
    #[must_use]
    pub fn at(mut self, path: String) -> Self {
        self.location = Some(path);
        self
    }
}

/// `body` as JSON.
///
/// # Panics
/// Never: the bodies of answers are text and numbers.
#[must_use]
pub fn bytes(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("bodies of answers are text and numbers")
}

/// The answer to a decision. `yes` gives the body from what was recorded alone (`None`: it was so already), so that a
/// repeat gets the same one.
///
/// # Errors
/// A refusal.
pub fn decided<E>(decided: &Decided<E>, yes: impl FnOnce(Option<&E>) -> Success) -> Result<Response<Body>, Problem> {
    eventlog::fault::crash_point("before-response");
    let token = Token::of(decided.position.partition, decided.position.offset).to_header();
    let success = match &decided.decision {
        Decision::Accepted(event) => yes(Some(event)),
        Decision::Unchanged => yes(None),
        Decision::Refused(refusal) => {
            let mut problem = Problem::refusal(refusal);
            if let Some(token) = token {
                problem = problem.with_header(CONSISTENCY_TOKEN, token);
            }
            if decided.replayed {
                problem = problem.with_header(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
            }
            return Err(problem);
        }
    };
    let mut response = json(success.status, success.body);
    let headers = response.headers_mut();
    headers.insert(ETAG, etag(decided.version));
    headers.extend(token.map(|token| (CONSISTENCY_TOKEN, token)));
    headers.extend(success.location.and_then(|path| Some((LOCATION, HeaderValue::from_maybe_shared(path).ok()?))));
    if decided.replayed {
        headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// An answer of JSON.
#[must_use]
pub fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The ETag of a version.
#[must_use]
pub fn etag(version: impl Display) -> HeaderValue {
    HeaderValue::from_maybe_shared(format!("\"v{version}\"")).expect("a number in quotes is a header's value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_an_answer_says_what_to_do() {
        use axum::response::IntoResponse;

        for (error, status, retry_after) in [
            (SendError::Unknown, 504, None),
            (SendError::Busy, 503, Some("1")),
            (SendError::NotReady, 503, Some("1")),
            (SendError::KeyReused, 422, None),
            (SendError::Parked("x".into()), 500, None),
        ] {
            let response = no_answer(error.clone()).into_response();
            let after = response.headers().get("retry-after").map(|value| value.to_str().unwrap());
            assert_eq!((response.status().as_u16(), after), (status, retry_after), "{error}");
        }
    }

    #[test]
    fn if_match_is_one_version_or_any() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_MATCH, HeaderValue::from_static(value));
            }
            if_match(&headers).ok()
        };
        assert_eq!(read(&[]), Some(None));
        assert_eq!(read(&["*"]), Some(None));
        assert_eq!(read(&["\"v0\""]), Some(Some(0)));
        assert_eq!(read(&["\"v3\""]), Some(Some(3)));
        for bad in [
            &["v3"][..],
            &["3"],
            &["W/\"v3\""],
            &["\"v-1\""],
            &["\"v3\", \"v4\""],
            &["\"v3\"", "\"v4\""],
            &["*", "*"],
            &[""],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
