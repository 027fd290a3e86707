//! The servers that `bench commands` measures, each a process of its own, and what they leave behind.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::closed_loop::HOT_SKU;
use crate::http::Connection;
use crate::lonja::Lonja;
use crate::own;
use crate::process::{Server, free_address, peer};
use crate::stack::Stack;

/// One of the servers that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Subject {
    /// axum and one acknowledged record
    Ceiling,
    /// Lonja on Kafka
    Kafka,
    /// Lonja on Kafka, where everybody wants one SKU
    HotSku,
    /// As the ceiling, with Kafka's transactions instead of Lonja's terms
    Transactions,
    /// Lonja on its embedded log: an fsync for each group of records
    Embedded,
    /// cqrs-es with postgres-es and one view
    CqrsEs,
}

impl Subject {
    /// Its name in rows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ceiling => "ceiling",
            Self::Kafka => "kafka",
            Self::HotSku => "hot-sku",
            Self::Transactions => "transactions",
            Self::Embedded => "embedded",
            Self::CqrsEs => "cqrs-es",
        }
    }
}

/// What starting a subject needs.
pub struct Setup<'a> {
    /// Where the real servers are.
    pub stack: &'a Stack,
    /// The same servers, with topics and databases of this run.
    pub apart: &'a Stack,
    /// The `lonja` binary; the one beside this program if `None`.
    pub lonja: Option<&'a Path>,
    /// The directory with the `cqrs-es-peer` binary; the one of this program if `None`.
    pub peers: Option<&'a Path>,
    /// Lonja keeps its views in PostgreSQL, MySQL and MongoDB instead of memory.
    pub with_stores: bool,
    /// Names what the bench makes on the servers.
    pub run: &'a str,
    /// For data and logs.
    pub directory: &'a Path,
}

impl Setup<'_> {
    /// Starts `subject`.
    ///
    /// # Errors
    /// When a program or server is missing, or it does not become ready.
    pub fn start(&self, subject: Subject) -> Result<Server> {
        match subject {
            Subject::Ceiling | Subject::Transactions => self.start_bare(subject),
            Subject::Kafka => self.start_lonja(subject, self.apart),
            Subject::HotSku => {
                let server = self.start_lonja(subject, &self.stack.apart(&format!("{}_hot", self.run)))?;
                stock_up(&server)?;
                Ok(server)
            }
            Subject::Embedded => Lonja::new(self.lonja, Vec::new())?.serve(subject.name(), self.directory),
            Subject::CqrsEs => self.start_peer(),
        }
    }

    fn start_lonja(&self, subject: Subject, apart: &Stack) -> Result<Server> {
        let with_stores = self.with_stores && subject == Subject::Kafka;
        let settings = if with_stores { apart.settings() } else { apart.log_settings() };
        let lonja = Lonja::new(self.lonja, settings?)?;
        lonja.apply("topics")?;
        lonja.apply("schemas")?;
        if with_stores {
            own::make_databases(self.stack, self.run)?;
            lonja.apply("views")?;
        }
        lonja.serve(subject.name(), self.directory)
    }

    /// A verb of this program, which has the subject's name.
    fn start_bare(&self, subject: Subject) -> Result<Server> {
        let name = subject.name();
        let topic = own::make_topic(self.stack, &format!("{}.{name}", self.run))?;
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe().context("asking for the own path")?);
        command.args([name, "--listen", &address.to_string(), "--kafka", self.stack.kafka()?, "--topic", &topic]);
        Server::start(name, command, address, "/livez", self.directory)
    }

    fn start_peer(&self) -> Result<Server> {
        let program = peer(Subject::CqrsEs.name(), self.peers)?;
        let database = own::make_postgres(self.stack, &format!("{}_peer", self.run))?;
        let address = free_address()?;
        let mut command = Command::new(program);
        command.args(["--listen", &address.to_string(), "--postgres", &database]);
        Server::start(Subject::CqrsEs.name(), command, address, "/livez", self.directory)
    }
}

/// More than anybody asks for in a run.
fn stock_up(server: &Server) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    runtime.block_on(async {
        let mut connection = Connection::open(server.address).await?;
        for delivery in 0..100 {
            let body = format!(r#"{{"quantity":1000000,"reference":"{delivery}"}}"#);
            let path = format!("/v1/stock/{HOT_SKU}/receipts");
            let answer = connection.post(&path, &format!("delivery-{delivery}"), body.into()).await?;
            ensure!(answer.status.is_success(), "a delivery was answered {}", answer.status);
        }
        Ok(())
    })
}
