//! Reads topics from their beginning to where they end now, with rdkafka and nothing of Lonja's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use schemas::{Headers, Topic};

/// How long the broker may be silent before reading fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A record as it stands in the log, counting or not.
#[derive(Debug, Clone)]
pub struct Raw {
    /// Which partition.
    pub partition: u32,
    /// At which offset.
    pub offset: u64,
    /// Its key.
    pub key: Bytes,
    /// Its headers.
    pub headers: Headers,
    /// Its value.
    pub payload: Bytes,
}

/// A topic as it stood at one moment.
#[derive(Debug, Clone)]
pub struct TopicLog {
    /// Which one, without the prefix.
    pub topic: &'static Topic,
    /// Every record, in the log's order in each partition, partitions one after another.
    pub records: Vec<Raw>,
    /// Where each partition ended.
    pub ends: BTreeMap<u32, u64>,
}

/// Reads `topic`, whose name on the brokers begins with `prefix`.
///
/// # Errors
/// When the broker does not answer, the topic is missing, or records before its end do not come.
pub fn read(kafka: &str, prefix: &str, topic: &'static Topic) -> Result<TopicLog> {
    let name = format!("{prefix}{}", topic.name);
    let consumer: BaseConsumer = config(kafka).create().context("making a consumer")?;
    let mut ends = BTreeMap::new();
    let mut from = TopicPartitionList::new();
    for partition in 0..topic.partitions {
        let number = i32::try_from(partition).context("a partition's number")?;
        let (low, high) = consumer
            .fetch_watermarks(&name, number, PATIENCE)
            .with_context(|| format!("asking for the end of {name}/{partition}"))?;
        ensure!(low == 0, "{name}/{partition} begins at {low}: a log that is the truth begins at 0");
        ends.insert(partition, u64::try_from(high).context("an offset below 0")?);
        from.add_partition_offset(&name, number, Offset::Beginning).context("adding a partition")?;
    }
    consumer.assign(&from).context("assigning partitions")?;
    let mut read: BTreeMap<u32, Vec<Raw>> = BTreeMap::new();
    let mut missing: u64 = ends.values().sum();
    let mut heard = Instant::now();
    while missing > 0 {
        match consumer.poll(Duration::from_secs(1)) {
            None if heard.elapsed() < PATIENCE => {}
            None => bail!("{name}: {missing} records before its end did not come within {PATIENCE:?}"),
            Some(message) => {
                heard = Instant::now();
                let raw = raw(&message.with_context(|| format!("reading {name}"))?)?;
                if raw.offset < ends[&raw.partition] {
                    // Offsets are gapless: Lonja uses no transactions, and nothing is compacted.
                    let records = read.entry(raw.partition).or_default();
                    ensure!(
                        raw.offset == records.len() as u64,
                        "{name}/{}: offset {} is missing",
                        raw.partition,
                        records.len()
                    );
                    records.push(raw);
                    missing -= 1;
                }
            }
        }
    }
    Ok(TopicLog { topic, records: read.into_values().flatten().collect(), ends })
}

/// Where each partition of `topic` ends now.
///
/// # Errors
/// When the broker does not answer.
pub fn ends(kafka: &str, prefix: &str, topic: &Topic) -> Result<BTreeMap<u32, u64>> {
    let consumer: BaseConsumer = config(kafka).create().context("making a consumer")?;
    let name = format!("{prefix}{}", topic.name);
    let end = |partition| {
        let (_, high) = consumer.fetch_watermarks(&name, i32::try_from(partition)?, PATIENCE)?;
        Ok((partition, u64::try_from(high)?))
    };
    (0..topic.partitions).map(end).collect::<Result<_>>().with_context(|| format!("asking for the ends of {name}"))
}

fn config(kafka: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka)
        // Partitions are assigned by hand; the library wants a name all the same.
        .set("group.id", "lonja-workload")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", "read_uncommitted");
    config
}

fn raw(message: &BorrowedMessage<'_>) -> Result<Raw> {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let own = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned().into(), Bytes::copy_from_slice(header.value.unwrap_or_default()))
        };
        headers.iter().map(own).collect()
    });
    Ok(Raw {
        partition: u32::try_from(message.partition()).context("a partition below 0")?,
        offset: u64::try_from(message.offset()).context("an offset below 0")?,
        key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
        headers,
        payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    })
}
