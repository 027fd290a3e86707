//! What Lonja would be with Kafka's transactions instead of terms: a lane that consumes commands from a topic's position,
//! appends events and commits both in one transaction. As bare as the ceiling; only the way to be safe against a second
//! owner is different: the broker fences the older producer of a transactional id.
//!
//! In its favour: all commands that wait go into one transaction, and the position is sent first, so that the broker adds
//! its partition while records are under way; the commit is librdkafka's own.
//!
//! Not to be quoted yet: a transaction took 200 ms here in a debug build, where a prototype had 14 to 18 ms. Not explained.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use schemas::topics;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::ceiling::{Args, Sample, answer, sample, serve_on};

/// Most commands of one transaction.
const BATCH_MAX: usize = 1_024;
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one look for reports of records under way takes at most.
const REPORTS: Duration = Duration::from_millis(1);

struct Waiting {
    id: String,
    done: oneshot::Sender<Result<(), String>>,
}

struct Lane {
    producer: BaseProducer,
    group: ConsumerGroupMetadata,
    topic: String,
    record: Sample,
    /// Of the command topic that is stood in for.
    position: i64,
}

/// Serves until the process is stopped.
///
/// # Errors
/// When the address is taken or Kafka does not answer.
pub fn serve(args: &Args) -> Result<()> {
    let id = format!("lonja-bench-{}", Uuid::new_v4().simple());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &args.kafka).set("linger.ms", "0").set("enable.metrics.push", "false");
    // The broker refuses the next transaction while it still marks the end of the last one; the client asks again only after
    // 100 ms by default.
    config.set("retry.backoff.ms", "5").set("retry.backoff.max.ms", "20");
    let producer: BaseProducer = config.clone().set("transactional.id", &id).create().context("making a producer")?;
    producer.init_transactions(PATIENCE).context("asking for a transactional id")?;
    let consumer: BaseConsumer = config.set("group.id", &id).create().context("making a consumer")?;
    let group = consumer.group_metadata().context("no group")?;
    let lane = Lane { producer, group, topic: args.topic.clone(), record: sample()?, position: 0 };
    let (queue, waiting) = crossbeam_channel::bounded(BATCH_MAX);
    std::thread::Builder::new().name("lane".into()).spawn(move || lane.run(&waiting)).context("starting a thread")?;
    let router = Router::new()
        .route("/v1/orders", post(post_order))
        .route("/livez", get(|| async { "ok" }))
        .with_state(Arc::new(queue));
    serve_on(args.listen, router)
}

impl Lane {
    fn run(mut self, waiting: &Receiver<Waiting>) {
        while let Ok(first) = waiting.recv() {
            let batch: Vec<Waiting> = std::iter::once(first).chain(waiting.try_iter().take(BATCH_MAX - 1)).collect();
            let outcome = self.transact(&batch).map_err(|error| error.to_string());
            for waiting in batch {
                // A client that hung up waits no more.
                let _ = waiting.done.send(outcome.clone());
            }
        }
    }

    fn transact(&mut self, batch: &[Waiting]) -> KafkaResult<()> {
        self.position += i64::try_from(batch.len()).unwrap_or(i64::MAX);
        self.producer.begin_transaction()?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.topic, 0, Offset::Offset(self.position))?;
        self.producer.send_offsets_to_transaction(&offsets, &self.group, PATIENCE)?;
        for Waiting { id, .. } in batch {
            let partition = i32::try_from(topics::ORDER.partition_of(id.as_bytes())).unwrap_or(0);
            let record = BaseRecord::to(&self.topic)
                .partition(partition)
                .key(id)
                .payload(&self.record.payload[..])
                .headers(self.record.headers.clone());
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        // Otherwise rdkafka's commit would wait for reports in steps of 100 ms; like this it is librdkafka's alone.
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(REPORTS);
        }
        self.producer.commit_transaction(PATIENCE)
    }
}

async fn post_order(State(queue): State<Arc<Sender<Waiting>>>, body: Bytes) -> Response<Body> {
    drop(body);
    let (id, (done, outcome)) = (Uuid::new_v4().to_string(), oneshot::channel());
    if queue.try_send(Waiting { id: id.clone(), done }).is_err() {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "the queue is full".into());
    }
    match outcome.await {
        Ok(Ok(())) => answer(StatusCode::CREATED, format!(r#"{{"id":"{id}","version":1,"status":"placed"}}"#)),
        Ok(Err(error)) => answer(StatusCode::INTERNAL_SERVER_ERROR, error),
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, "the lane is gone".into()),
    }
}
