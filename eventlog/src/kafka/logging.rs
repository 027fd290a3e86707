//! What librdkafka has to say, in our log. It calls errors much that it mends by itself a moment later.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// A client that only logs.
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        line(level, facility, message);
    }

    fn error(&self, kafka: KafkaError, reason: &str) {
        error(&kafka, reason);
    }
}

impl ConsumerContext for Quiet {}

/// One line of the client's log.
pub(super) fn line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "kafka client: {message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, "kafka client: {message}"),
        _ => tracing::debug!(facility, "kafka client: {message}"),
    }
}

/// An error that concerns a client as a whole.
pub(super) fn error(error: &KafkaError, reason: &str) {
    tracing::warn!(%error, "kafka client: {reason}");
}
