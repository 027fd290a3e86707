//! How programs reach an instance: the environment variables the service and the tests read.

use std::path::{Path, PathBuf};

use super::ports::Ports;
use super::server::Kind;
use super::{mysql, postgres};

/// The addresses of one instance. Those of servers it does not have lead nowhere and are left out of `variables`.
#[derive(Debug, Clone)]
pub struct Urls {
    pub kafka: String,
    pub registry: String,
    /// Over the unix socket, as `mysql`: the driver waits 40 ms for the network's sake on each exchange over TCP.
    pub postgres: String,
    pub mysql: String,
    pub mongo: String,
    /// An interpreter with the clients an analyst would use.
    pub python: PathBuf,
    kinds: Vec<Kind>,
}

impl Urls {
    /// `home` is the instance's directory.
    pub fn new(ports: &Ports, home: &Path, python: PathBuf, kinds: &[Kind]) -> Self {
        let brokers: Vec<String> = ports.kafka.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let postgres_socket = postgres::socket_directory(&home.join("postgres"));
        let mysql_socket = mysql::socket(&home.join("mysql"));
        Self {
            kafka: brokers.join(","),
            registry: format!("http://127.0.0.1:{}", ports.registry),
            postgres: format!("postgres://lonja@localhost:{}/lonja?host={}", ports.postgres, postgres_socket.display()),
            mysql: format!("mysql://lonja@localhost:{}/lonja?socket={}", ports.mysql, mysql_socket.display()),
            mongo: format!("mongodb://127.0.0.1:{}/?directConnection=true", ports.mongo),
            python,
            kinds: kinds.to_vec(),
        }
    }

    /// Name and value of each variable.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables: Vec<(&'static str, String)> = self
            .kinds
            .iter()
            .map(|kind| match kind {
                Kind::Kafka => ("LONJA_KAFKA", self.kafka.clone()),
                Kind::Registry => ("LONJA_REGISTRY", self.registry.clone()),
                Kind::Postgres => ("LONJA_POSTGRES", self.postgres.clone()),
                Kind::Mysql => ("LONJA_MYSQL", self.mysql.clone()),
                Kind::Mongo => ("LONJA_MONGO", self.mongo.clone()),
            })
            .collect();
        if self.python.exists() {
            variables.push(("LONJA_PYTHON", self.python.display().to_string()));
        }
        variables
    }
}
