//! What librdkafka has to say, in our log. It says most things three times and mends them a moment later.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// How often the log says that brokers cannot be reached, however many clients notice.
const OUTAGE_INTERVAL: Duration = Duration::from_secs(10);

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

/// One line of the client's log. What matters comes as an error too.
pub(super) fn line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "kafka client: {message}");
        }
        _ => tracing::debug!(facility, "kafka client: {message}"),
    }
}

/// An error of a client as a whole.
pub(super) fn error(error: &KafkaError, reason: &str) {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    if !is_outage(error) {
        tracing::warn!(%error, "kafka client: {reason}");
        return;
    }
    let mut said = SAID.lock();
    if said.is_some_and(|said| said.elapsed() < OUTAGE_INTERVAL) {
        tracing::debug!(%error, "kafka client: {reason}");
        return;
    }
    *said = Some(Instant::now());
    tracing::warn!(%error, "brokers cannot be reached; trying again: {reason}");
}

/// Whether brokers could not be reached, which clients get over by themselves.
pub(super) fn is_outage(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    let codes = [AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}
