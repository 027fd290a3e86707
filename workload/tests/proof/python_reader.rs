use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use domain::order::{Order, OrderEvent};
use eventlog::kafka::{KafkaLog, Settings};
use eventlog::{Partition, Tail};
use lonja_workload::{log_reader, python, rule};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use schemas::topics::{COMMAND_UNCHANGED, ORDER};
use schemas::{Codec, Contract};
use serde_json::Value;

use super::address;
use super::planted::{Planted, Planter};

/// Orders and their sum by day.
type Days = BTreeMap<String, (u64, i64)>;

const RECORDS_PER_PARTITION: usize = 150;

#[test]
fn python_with_the_rule_in_sql_finds_what_a_fold_finds_among_zombies_duplicates_and_holes() {
    let (kafka, registry) = (address("LONJA_KAFKA"), address("LONJA_REGISTRY"));
    let prefix = format!("proof_{}.", uuid::Uuid::new_v4().simple());
    let log = KafkaLog::connect(&kafka, Settings { prefix: prefix.clone(), ..Settings::default() }).unwrap();
    log.apply_topics(1).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(schemas::registry::apply::apply(&registry, &prefix)).unwrap();
    let codec = runtime.block_on(Codec::connect(&registry, &prefix)).unwrap();
    let mut planted = 0;
    // The last partition stays empty.
    for partition in 0..ORDER.partitions - 1 {
        let records = Planter::new(&codec, u64::from(partition) + 1).plant(RECORDS_PER_PARTITION);
        write(&kafka, &prefix, partition, &records);
        planted += records.len() as u64;
    }

    let (folded, voids) = fold(&log, &codec);
    let judged = rule::judge(&log_reader::read(&kafka, &prefix, &ORDER).unwrap(), &codec).unwrap();
    let by_python = read_in_python(&kafka, &registry, &prefix, true);
    let without_rule = read_in_python(&kafka, &registry, &prefix, false);

    assert!(voids > planted / 5 && folded.len() == 5, "{voids} of {planted} are void: too few to prove anything");
    assert_eq!(judged.voids, voids);
    assert_eq!(judged.decisions.len() as u64, planted - voids - judged.claims);
    assert_eq!(by_python["records"], planted);
    assert_eq!(by_python["decisions"], judged.decisions.len());
    assert_eq!(days(&by_python), folded, "with the rule Python finds the totals of the fold");
    assert_ne!(days(&without_rule), folded, "the void records would have been missed");
    delete(&kafka, &prefix);
}

fn write(kafka: &str, prefix: &str, partition: u32, records: &[Planted]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    let topic = format!("{prefix}{}", ORDER.name);
    for record in records {
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name, value: Some(&value[..]) })
        });
        let message = BaseRecord::to(&topic)
            .partition(partition.cast_signed())
            .key(&record.key)
            .payload(&record.payload[..])
            .headers(headers);
        producer.send(message).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
}

/// Totals of the orders that count, as Lonja's own readers see them, and how many records do not count.
fn fold(log: &KafkaLog, codec: &Codec) -> (Days, u64) {
    use eventlog::EventLog;
    let partitions: Vec<_> = Partition::all(&ORDER).map(|partition| (partition, None)).collect();
    let ends: Vec<_> = Partition::all(&ORDER).map(|partition| (partition, log.end(partition).unwrap())).collect();
    let mut tail = Tail::open(log, &partitions).unwrap();
    let mut days = Days::new();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while ends.iter().any(|(partition, end)| tail.next(*partition) < *end) {
        assert!(std::time::Instant::now() < deadline, "the end of the log is not reached");
        for admitted in tail.poll(1_000, Duration::from_millis(200)).unwrap() {
            if admitted.envelope.record_type == COMMAND_UNCHANGED.name {
                continue;
            }
            let event = Order::decode(codec, &admitted.envelope.record_type, &admitted.record.payload).unwrap();
            let OrderEvent::OrderPlaced { total, placed_at, .. } = event else { panic!("nothing else was planted") };
            let day = jiff::Timestamp::from_millisecond(placed_at.0).unwrap().strftime("%Y-%m-%d").to_string();
            let entry = days.entry(day).or_default();
            *entry = (entry.0 + 1, entry.1 + total.amount);
        }
    }
    (days, tail.voids())
}

fn read_in_python(kafka: &str, registry: &str, prefix: &str, with_rule: bool) -> Value {
    let topic = format!("{prefix}{}", ORDER.name);
    let mut arguments = vec!["--kafka", kafka, "--registry", registry, "--topic", &topic];
    if with_rule {
        arguments.push("--rule");
    }
    let arguments: Vec<_> = arguments.into_iter().map(OsStr::new).collect();
    let printed = python::run(&PathBuf::from(address("LONJA_PYTHON")), "read_orders.py", &arguments).unwrap();
    serde_json::from_str(&printed).unwrap()
}

fn days(found: &Value) -> Days {
    let of = |day: &Value| {
        let totals = (day["orders"].as_u64().unwrap(), day["total"].as_i64().unwrap());
        (day["day"].as_str().unwrap().to_owned(), totals)
    };
    found["days"].as_array().unwrap().iter().map(of).collect()
}

fn delete(kafka: &str, prefix: &str) {
    lonja_workload::own::remove_topics(kafka, prefix).unwrap();
}
