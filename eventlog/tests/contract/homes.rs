//! The logs under test.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use lonja_eventlog::EventLog;
use lonja_eventlog::embedded::EmbeddedLog;
use lonja_eventlog::kafka::{KafkaLog, Settings};
use lonja_eventlog::shared::{SharedLog, Tap};
use rdkafka::admin::{AdminClient, AdminOptions, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaResult;
use schemas::topics::{ALL, every};
use tempfile::TempDir;
use uuid::Uuid;

/// Where a log lives.
pub trait Home {
    /// Opens the log, as a process does at its start. Nothing else may have it open.
    fn open(&self) -> Box<dyn EventLog>;

    /// Puts an empty log in the place of the one that was there. Nothing may have it open.
    fn replace(&self);
}

/// A directory of its own.
pub struct Directory(RefCell<TempDir>);

impl Directory {
    pub fn new() -> Self {
        Self(RefCell::new(tempfile::tempdir().unwrap()))
    }
}

impl Home for Directory {
    fn open(&self) -> Box<dyn EventLog> {
        Box::new(EmbeddedLog::open(self.0.borrow().path(), ALL).unwrap())
    }

    fn replace(&self) {
        *self.0.borrow_mut() = tempfile::tempdir().unwrap();
    }
}

/// Another home, whose readers share.
pub struct Shared<H>(pub H);

impl<H: Home> Home for Shared<H> {
    fn open(&self) -> Box<dyn EventLog> {
        Box::new(SharedLog::new(Arc::from(self.0.open()), Box::new(|_, _| None), Tap::default()))
    }

    fn replace(&self) {
        self.0.replace();
    }
}

/// Topics of its own on the cluster.
pub struct Cluster {
    pub prefix: String,
}

impl Cluster {
    pub fn new() -> Self {
        let cluster = Self::without_topics();
        cluster.connect().apply_topics(1).unwrap();
        cluster
    }

    pub fn without_topics() -> Self {
        Self { prefix: format!("t{}.", Uuid::new_v4().simple()) }
    }

    pub fn brokers() -> String {
        std::env::var("LONJA_KAFKA").expect("LONJA_KAFKA names the broker to test with")
    }

    pub fn connect(&self) -> KafkaLog {
        let settings = Settings { prefix: self.prefix.clone(), ..Settings::default() };
        KafkaLog::connect(&Self::brokers(), settings).unwrap()
    }

    pub fn admin() -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", Self::brokers()).create().unwrap()
    }

    fn delete_topics(&self) -> KafkaResult<Vec<TopicResult>> {
        let names: Vec<String> = every().map(|topic| format!("{}{}", self.prefix, topic.name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        block_on(Self::admin().delete_topics(&names, &options))
    }
}

impl Home for Cluster {
    fn open(&self) -> Box<dyn EventLog> {
        Box::new(self.connect())
    }

    fn replace(&self) {
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
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let deleted = self.delete_topics();
        assert!(deleted.is_ok() || std::thread::panicking(), "{deleted:?}");
    }
}
