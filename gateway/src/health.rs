//! `/livez`, `/readyz`, `/metrics`: for whoever runs the process.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response, StatusCode};

use crate::GatewayState;
use crate::answer;

/// `GET /livez`: the process answers.
pub async fn live() -> Response<Body> {
    answer::json(StatusCode::OK, br#"{"live":true}"#.to_vec())
}

/// `GET /readyz`: each part, and why it is not ready.
pub async fn ready(State(state): State<Arc<GatewayState>>) -> Response<Body> {
    let report = state.health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, answer::bytes(&report))
}

/// `GET /metrics`, in Prometheus' text format.
pub async fn metrics(State(state): State<Arc<GatewayState>>) -> Response<Body> {
    let mut response = Response::new(Body::from(state.metrics.render()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
