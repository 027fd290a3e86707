//! Metrics of the gateway: rate, errors and duration of requests by route, and what its limits did.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Requests answered, by `route` (template), `method` and `status`.
pub const REQUESTS: &str = "lonja_http_requests_total";
/// Seconds from the end of a request's headers to its answer, by `route` and `method`.
pub const SECONDS: &str = "lonja_http_request_seconds";
/// Requests in whose handling something panicked. Each one is a defect.
pub const PANICS: &str = "lonja_http_panics_total";
/// Connections that are open.
pub const CONNECTIONS: &str = "lonja_http_connections";

/// Tells the recorder what the metrics of this crate are.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by route, method and status");
    describe_histogram!(SECONDS, Unit::Seconds, "Time from the end of a request's headers to its answer");
    describe_counter!(PANICS, "Requests in whose handling something panicked: each one is a defect");
    describe_gauge!(CONNECTIONS, "Connections that are open");
}
