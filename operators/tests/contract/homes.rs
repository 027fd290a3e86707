//! The logs under test.

use std::sync::Arc;
use std::time::Duration;

use eventlog::EventLog;
use eventlog::embedded::EmbeddedLog;
use eventlog::kafka::{KafkaLog, Settings};
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use schemas::topics::{EMBEDDED, every};
use tempfile::TempDir;
use uuid::Uuid;

/// Where a log lives.
pub trait Home {
    /// Opens the log. Nothing else may have it open.
    fn open(&self) -> Arc<dyn EventLog>;
}

/// A directory of its own.
pub struct Directory(TempDir);

impl Directory {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Home for Directory {
    fn open(&self) -> Arc<dyn EventLog> {
        Arc::new(EmbeddedLog::open(self.0.path(), EMBEDDED).unwrap())
    }
}

/// Topics of its own on the cluster.
pub struct Cluster {
    brokers: String,
    prefix: String,
}

impl Cluster {
    pub fn new() -> Self {
        let brokers = std::env::var("LONJA_KAFKA").expect("LONJA_KAFKA names the broker to test with");
        let cluster = Self { brokers, prefix: format!("t{}.", Uuid::new_v4().simple()) };
        cluster.connect().apply_topics(1).unwrap();
        cluster
    }

    fn connect(&self) -> KafkaLog {
        let settings = Settings { prefix: self.prefix.clone(), ..Settings::default() };
        KafkaLog::connect(&self.brokers, settings).unwrap()
    }
}

impl Home for Cluster {
    fn open(&self) -> Arc<dyn EventLog> {
        Arc::new(self.connect())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let names: Vec<String> = every().map(|topic| format!("{}{}", self.prefix, topic.name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let deleted = block_on(admin.delete_topics(&names, &options));
        assert!(deleted.is_ok() || std::thread::panicking(), "{deleted:?}");
    }
}
