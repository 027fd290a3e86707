//! The ceiling of `bench commands`: what axum and one acknowledged record allow, and nothing else. No validation, no
//! decision, no state, no order among records, no de-duplication: a service that does anything is slower.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::routing::{get, post};
use bytes::Bytes;
use domain::Timestamp;
use domain::order::Order;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use schemas::{Codec, Contract, Envelope, Term, topics};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::order_body;

/// `workload ceiling`: started by the bench.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to serve HTTP
    #[arg(long)]
    pub listen: SocketAddr,
    /// Kafka's bootstrap servers
    #[arg(long)]
    pub kafka: String,
    /// A topic with the partitions and settings of order.events
    #[arg(long)]
    pub topic: String,
}

/// Tells whoever waits for a record what became of it.
struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), String>>>;

    fn delivery(&self, report: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let outcome = report.as_ref().map(drop).map_err(|(error, _)| error.to_string());
        // A client that hung up waits no more.
        let _ = waiting.send(outcome);
    }
}

struct Ceiling {
    producer: ThreadedProducer<Reports>,
    topic: String,
    record: Sample,
}

/// A record of the bytes that Lonja appends for the bench's order.
pub struct Sample {
    pub(super) headers: OwnedHeaders,
    pub(super) payload: Bytes,
    /// Of key, headers and payload.
    pub bytes: usize,
}

/// Serves until the process is stopped.
///
/// # Errors
/// When the address is taken or Kafka does not answer.
pub fn serve(args: &Args) -> Result<()> {
    let producer: ThreadedProducer<Reports> =
        producer_config(&args.kafka).create_with_context(Reports).context("making a producer")?;
    // Connected before the first request, as Lonja is when it says that it is ready.
    producer.client().fetch_metadata(Some(&args.topic), Duration::from_secs(10)).context("asking Kafka")?;
    let state = Arc::new(Ceiling { producer, topic: args.topic.clone(), record: sample()? });
    let router =
        Router::new().route("/v1/orders", post(post_order)).route("/livez", get(|| async { "ok" })).with_state(state);
    serve_on(args.listen, router)
}

/// Serves `router` until the process is stopped.
pub(super) fn serve_on(listen: SocketAddr, router: Router) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting a runtime")?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await.context("binding the address")?;
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, router).await.context("serving")
    })
}

/// The settings of an owner's producer (`eventlog::kafka`), as far as they cost or save time.
fn producer_config(kafka: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in [
        ("bootstrap.servers", kafka),
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("enable.gapless.guarantee", "true"),
        ("message.timeout.ms", "0"),
        ("linger.ms", "0"),
        ("message.max.bytes", "1048588"),
        ("enable.metrics.push", "false"),
    ] {
        config.set(name, value);
    }
    config
}

/// The record of the bench's order, made by the code that makes Lonja's.
///
/// # Errors
/// When the event cannot be encoded.
pub fn sample() -> Result<Sample> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let now = Timestamp(i64::try_from(now.as_millis()).context("the clock stands too late")?);
    let id = Uuid::new_v4();
    let event = order_body::placed(7, id, now).context("making the order")?;
    let encoded = Order::encode(&Codec::local(), &event).context("encoding the order")?;
    let envelope = Envelope {
        id: Uuid::new_v4(),
        record_type: encoded.record_type.name.into(),
        subject: format!("order/{id}"),
        time: now,
        term: Term { number: 1, nonce: Uuid::new_v4().as_u128() },
        sequence: 10_000,
        version: 1,
        fingerprint: Uuid::new_v4().as_u128(),
        causation_id: Uuid::new_v4(),
        correlation_id: Uuid::new_v4(),
        traceparent: None,
    };
    let mut headers = OwnedHeaders::new();
    let mut bytes = id.to_string().len() + encoded.payload.len();
    for (name, value) in envelope.to_headers(Order::TOPIC.aggregate) {
        bytes += name.len() + value.len();
        headers = headers.insert(Header { key: &name, value: Some(&value[..]) });
    }
    Ok(Sample { headers, payload: encoded.payload, bytes })
}

async fn post_order(State(ceiling): State<Arc<Ceiling>>, body: Bytes) -> Response<Body> {
    drop(body);
    let id = Uuid::new_v4().to_string();
    let Ok(partition) = i32::try_from(topics::ORDER.partition_of(id.as_bytes())) else {
        return answer(StatusCode::INTERNAL_SERVER_ERROR, "no such partition".into());
    };
    let (sender, report) = oneshot::channel();
    let record = BaseRecord::with_opaque_to(&ceiling.topic, Box::new(sender))
        .partition(partition)
        .key(&id)
        .payload(&ceiling.record.payload[..])
        .headers(ceiling.record.headers.clone());
    if let Err((error, _)) = ceiling.producer.send(record) {
        return answer(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    }
    match report.await {
        Ok(Ok(())) => answer(StatusCode::CREATED, format!(r#"{{"id":"{id}","version":1,"status":"placed"}}"#)),
        Ok(Err(error)) => answer(StatusCode::INTERNAL_SERVER_ERROR, error),
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, "the producer is gone".into()),
    }
}

pub(super) fn answer(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_of_a_plausible_size() {
        let bytes = sample().unwrap().bytes;
        assert!((500..1_500).contains(&bytes), "{bytes} bytes");
    }
}
