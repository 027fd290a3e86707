use std::net::SocketAddr;
use std::time::Duration;

use super::{at_least_one, milliseconds};

/// How requests are served, and every limit on them.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpConfig {
    /// Where requests are accepted.
    #[arg(long, env = "LONJA_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// How long a command may take before its caller is told that the outcome is unknown.
    #[arg(long = "command-timeout-ms", env = "LONJA_COMMAND_TIMEOUT_MS", value_name = "MILLISECONDS",
        default_value = "5000", value_parser = milliseconds)]
    pub command_timeout: Duration,
    /// How long a query waits for the write that its consistency token names.
    #[arg(long = "consistency-timeout-ms", env = "LONJA_CONSISTENCY_TIMEOUT_MS", value_name = "MILLISECONDS",
        default_value = "2000", value_parser = milliseconds)]
    pub consistency_timeout: Duration,
    /// How long a connection may stand idle, or take over the headers of one request, before it is closed.
    #[arg(long = "header-timeout-ms", env = "LONJA_HEADER_TIMEOUT_MS", value_name = "MILLISECONDS",
        default_value = "75000", value_parser = milliseconds)]
    pub header_timeout: Duration,
    /// How long the body of a request may take to arrive.
    #[arg(long = "body-timeout-ms", env = "LONJA_BODY_TIMEOUT_MS", value_name = "MILLISECONDS",
        default_value = "10000", value_parser = milliseconds)]
    pub body_timeout: Duration,
    /// Largest body of a request.
    #[arg(long = "body-bytes-max", env = "LONJA_BODY_BYTES_MAX", value_name = "BYTES", default_value = "262144",
        value_parser = at_least_one)]
    pub body_bytes_max: usize,
    /// Most connections at a time; more wait until one ends.
    #[arg(long = "connections-max", env = "LONJA_CONNECTIONS_MAX", value_name = "CONNECTIONS",
        default_value = "4096", value_parser = at_least_one)]
    pub connections_max: usize,
    /// How long requests in flight may take to end when the process is told to stop.
    #[arg(long = "drain-timeout-ms", env = "LONJA_DRAIN_TIMEOUT_MS", value_name = "MILLISECONDS",
        default_value = "10000", value_parser = milliseconds)]
    pub drain_timeout: Duration,
}
