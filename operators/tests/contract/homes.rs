//! The logs under test.

use std::sync::Arc;
use std::time::Duration;

use eventlog::EventLog;
use eventlog::embedded::EmbeddedLog;
use eventlog::kafka::{KafkaLog, Settings};
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaResult;
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

    /// Puts empty topics in the place of those that were there.
    pub fn replace(&self) {
        self.delete_topics().unwrap();
        // A topic is gone a moment after its deletion was agreed on.
        for _ in 0..50 {
            match self.connect().apply_topics(1) {
                Ok(report) if report.created.len() == every().count() => return,
                Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
            self.delete_topics().unwrap();
        }
        panic!("the topics cannot be made again");
    }

    fn delete_topics(&self) -> KafkaResult<Vec<TopicResult>> {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let names: Vec<String> = every().map(|topic| format!("{}{}", self.prefix, topic.name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        block_on(admin.delete_topics(&names, &options))
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
        let deleted = self.delete_topics();
        assert!(deleted.is_ok() || std::thread::panicking(), "{deleted:?}");
    }
}
