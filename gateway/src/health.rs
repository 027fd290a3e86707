//! `/livez`, `/readyz`, `/metrics`: for whoever runs the process.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use runtime::Health;
use runtime::telemetry::PrometheusHandle;

use crate::GatewayState;
use crate::answer;

/// What every process tells whoever runs it. Clones share.
#[derive(Clone)]
pub struct Operations {
    /// Whether the process can do its work.
    pub health: Arc<Health>,
    /// Every metric of the process.
    pub metrics: PrometheusHandle,
}

impl FromRef<Arc<GatewayState>> for Operations {
    fn from_ref(state: &Arc<GatewayState>) -> Self {
        state.operations.clone()
    }
}

/// The routes of a process that serves no shop.
pub fn operations(operations: Operations) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(operations)
}

/// `GET /livez`: the process answers.
pub async fn live() -> Response<Body> {
    answer::json(StatusCode::OK, br#"{"live":true}"#.to_vec())
}

/// `GET /readyz`: each part, and why it is not ready.
pub async fn ready(State(operations): State<Operations>) -> Response<Body> {
    let report = operations.health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, answer::bytes(&report))
}

/// `GET /metrics`, in Prometheus' text format.
pub async fn metrics(State(operations): State<Operations>) -> Response<Body> {
    let mut response = Response::new(Body::from(operations.metrics.render()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
