//! The same on Kafka, with a registry, beside somebody who appends.

use std::time::Duration;

use eventlog::EventLog;
use eventlog::kafka::{KafkaLog, Settings};
use futures::executor::block_on;
use lonja_export::{ExportError, Step};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use schemas::Codec;
use schemas::registry::{apply, subject};
use schemas::topics::{ALL, every};
use uuid::Uuid;

use crate::script::{Owner, append, history, partition};
use crate::{check, export_to, rows};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the servers with `cargo xtask stack up`"))
}

/// Topics of a test's own.
struct Cluster {
    prefix: String,
}

impl Cluster {
    fn new() -> Self {
        let cluster = Self { prefix: format!("t{}.", Uuid::new_v4().simple()) };
        cluster.connect().apply_topics(1).unwrap();
        cluster
    }

    fn connect(&self) -> KafkaLog {
        let settings = Settings { prefix: self.prefix.clone(), ..Settings::default() };
        KafkaLog::connect(&variable("LONJA_KAFKA"), settings).unwrap()
    }

    fn delete_subjects(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (http, registry) = (reqwest::Client::new(), variable("LONJA_REGISTRY"));
        for (topic, record) in ALL.iter().flat_map(|topic| topic.records.iter().map(move |record| (topic, record))) {
            let subject = subject(&self.prefix, topic, record);
            for permanent in [false, true] {
                let url = format!("{registry}/subjects/{subject}?permanent={permanent}");
                // One that was never registered is not there.
                let _ = runtime.block_on(http.delete(url).send());
            }
        }
    }

    /// A codec with the ids of the registry.
    fn codec(&self) -> Codec {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            apply::apply(&variable("LONJA_REGISTRY"), &self.prefix).await.unwrap();
            Codec::connect(&variable("LONJA_REGISTRY"), &self.prefix).await.unwrap()
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.delete_subjects();
        let names: Vec<String> = every().map(|topic| format!("{}{}", self.prefix, topic.name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let mut config = ClientConfig::new();
        let admin: AdminClient<DefaultClientContext> =
            config.set("bootstrap.servers", variable("LONJA_KAFKA")).create().unwrap();
        let deleted = block_on(admin.delete_topics(&names, &options));
        assert!(deleted.is_ok() || std::thread::panicking(), "{deleted:?}");
    }
}

#[test]
fn a_log_on_kafka_is_exported_beside_who_appends() {
    let (cluster, to) = (Cluster::new(), tempfile::tempdir().unwrap());
    let (log, codec) = (cluster.connect(), cluster.codec());
    let run = |watch: &mut dyn FnMut(&Step)| export_to(to.path()).run(&log, &codec, watch);
    let mut records = history(&codec);
    let mut owner = Owner::new(&codec, 9);
    records.push(owner.claim());
    records.push(owner.decide(b"odd", "lonja.order.OrderPlaced", "no frame"));
    // The registry says that it has no such schema.
    records.push(owner.decide(b"odd", "lonja.order.OrderPlaced", &b"\0\x7f\xff\xff\xff\x02"[..]));
    for number in [0, 5] {
        append(&log, partition(number), &records);
    }
    // What is appended meanwhile is not of this run: it would never end where somebody always sells.
    let mut late = owner.decisions(30).into_iter();
    let begun = &mut |step: &Step| {
        if matches!(step, Step::Read { .. }) {
            append(&log, partition(5), &late.by_ref().take(3).collect::<Vec<_>>());
        }
    };
    let summary = run(begun).unwrap();
    assert_eq!((summary.read, summary.unreadable), (2 * records.len() as u64, 4));
    let summary = run(&mut |_| {}).unwrap();
    assert!(summary.exported > 3 && summary.void == 0, "{summary:?}");
    check(&log, &codec, to.path());
    assert_eq!(rows::all(to.path())["_unreadable"].len(), 4);
    assert_eq!(run(&mut |_| {}).unwrap().read, 0);

    let another = Cluster::new();
    append(&another.connect(), partition(0), &records);
    let refused = export_to(to.path()).run(&another.connect(), &codec, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, ExportError::Diverged { .. }), "{refused:?}");
    assert!(log.end(partition(5)).unwrap() > records.len() as u64);
}
