//! What happens to every request on its way in and out: one limit, one measurement, one span.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use ::metrics::{counter, histogram};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use runtime::telemetry;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};

use crate::GatewayState;
use crate::metrics::{PANICS, REQUESTS, SECONDS};
use crate::problem::{INTERNAL_ERROR, Problem, URI_TOO_LONG};
use crate::routes::TEMPLATES;

/// Longest path and query in bytes.
const URI_BYTES_MAX: usize = 8_192;

/// The header of W3C trace context.
pub const TRACEPARENT: &str = "traceparent";

/// Around every route.
pub async fn edge(State(state): State<Arc<GatewayState>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = template(&request);
    let method = method(request.method());
    let response = if request.uri().path_and_query().is_some_and(|uri| uri.as_str().len() > URI_BYTES_MAX) {
        Problem::new(&URI_TOO_LONG, format!("path and query have at most {URI_BYTES_MAX} bytes")).into_response()
    } else if state.traces {
        let span = span(&request, route, method);
        let response = next.run(request).instrument(span.clone()).await;
        span.record("http.response.status_code", response.status().as_u16());
        response
    } else {
        next.run(request).await
    };
    measure(route, method, response.status(), started);
    response
}

fn measure(route: &'static str, method: &'static str, status: StatusCode, started: Instant) {
    histogram!(SECONDS, "route" => route, "method" => method).record(started.elapsed());
    counter!(REQUESTS, "route" => route, "method" => method, "status" => status.as_str().to_owned()).increment(1);
}

fn span(request: &Request, route: &'static str, method: &'static str) -> Span {
    let span = info_span!(
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    if let Some(parent) = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok()) {
        telemetry::adopt(&span, parent);
    }
    span
}

/// Labels are of a closed set, whatever callers send.
fn template(request: &Request) -> &'static str {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    matched.and_then(|matched| TEMPLATES.iter().copied().find(|template| *template == matched)).unwrap_or("none")
}

fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        _ => "other",
    }
}

/// Answers for a handler that panicked. It must not happen: this is the last resort that keeps the connection's other
/// requests alive.
#[allow(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = words, "a request's handler panicked");
    counter!(PANICS).increment(1);
    Problem::new(&INTERNAL_ERROR, "the request could not be handled").into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_problem_and_no_end_of_the_connection() {
        async fn handler() {
            panic!("a defect");
        }
        let app = axum::Router::new().route("/", get(handler)).layer(CatchPanicLayer::custom(panicked));
        let response = TowerToHyperService::new(app).call(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&body["code"], &body["detail"]),
            (&"internal_error".into(), &"the request could not be handled".into())
        );
    }
}
