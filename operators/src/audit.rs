//! Who did what, why, and what it changed: one record on a topic of its own for each verb that changes something, appended
//! *before* it takes effect. So nothing is done that is not on record; that something is on record does not mean that it was
//! done, for the process may have ended in between.
//!
//! The topic is no topic of events. Its records are decided by nobody, so they carry no term, and the reader's rule has
//! nothing to say of them: every record on it counts. *When* is the log's own time of the record.

pub(crate) mod page;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use eventlog::{AppendError, EventLog, LogError, PAYLOAD_BYTES_MAX, Partition, Record, Report, Stored};
use schemas::topics::AUDIT;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::operator::Operator;
use crate::problem::{AUDIT_UNAVAILABLE, Problem};
use crate::range;

/// The one partition: all of it in one order.
const HOME: Partition = Partition { topic: &AUDIT, number: 0 };

/// How long the log may take to acknowledge.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is about to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    /// What, as on the command line, such as `parked retry`.
    pub verb: String,
    /// To what, such as the name of a view.
    pub target: String,
    /// Why, in the operator's words.
    pub reason: String,
    /// What it changes, as it is now.
    #[serde(default)]
    pub before: Value,
    /// As it will be.
    #[serde(default)]
    pub after: Value,
}

/// What the payload of a record says, as JSON. Fields may come, and must then be optional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Names it.
    pub id: Uuid,
    /// Who.
    pub operator: String,
    /// Does what.
    #[serde(flatten)]
    pub deed: Deed,
}

/// An entry and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its offset.
    pub offset: u64,
    /// When, by the log's clock.
    pub time: Timestamp,
    /// The entry; what is wrong with the record where it is not one.
    pub entry: Result<Entry, String>,
}

/// Some entries, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Recorded>,
    /// Older ones are before this offset; `None` when there are none.
    pub next: Option<u64>,
}

/// Why a verb must not be done: it is not on record.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The log is not there.
    #[error("the audit's log cannot be used")]
    Log(#[from] LogError),
    /// The log did not take it.
    #[error("the audit's log did not take the entry")]
    Append(#[from] AppendError),
    /// It may be on record all the same.
    #[error("the audit's log did not acknowledge the entry within {} s", PATIENCE.as_secs())]
    Late,
    /// What it changes is too large to be told.
    #[error("the entry has {0} bytes, and at most {PAYLOAD_BYTES_MAX} can be recorded")]
    TooLarge(usize),
    /// Appending failed otherwise.
    #[error("recording failed")]
    Failed(#[from] tokio::task::JoinError),
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a verb was refused: it could not be recorded");
        Self::caused(&AUDIT_UNAVAILABLE, &error)
    }
}

/// The log of what operators did. Clones share.
#[derive(Clone)]
pub struct Audit {
    log: Arc<dyn EventLog>,
}

impl Audit {
    /// The audit on `log`, which has [`AUDIT`].
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log }
    }

    /// Records that `operator` is about to do `deed`, and waits until the log has it. Only then may it be done.
    ///
    /// # Errors
    /// When it is not known to be on record: the verb is to be refused.
    pub async fn record(&self, operator: &Operator, deed: Deed) -> Result<Entry, AuditError> {
        let entry = Entry { id: Uuid::new_v4(), operator: operator.as_str().to_owned(), deed };
        let record = record_of(&entry)?;
        let log = Arc::clone(&self.log);
        tokio::task::spawn_blocking(move || append(&*log, &record)).await??;
        tracing::info!(operator = entry.operator, verb = entry.deed.verb, target = entry.deed.target, "on record");
        Ok(entry)
    }

    /// The newest `limit` entries; of those before offset `before`, where it is given. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn page(&self, before: Option<u64>, limit: u64) -> Result<Page, LogError> {
        let end = self.log.end(HOME)?;
        let before = before.map_or(end, |before| before.min(end));
        let from = before.saturating_sub(limit);
        let stored = range::read(&*self.log, HOME, from, before)?;
        Ok(Page { entries: stored.iter().rev().map(entry_of).collect(), next: (from > 0).then_some(from) })
    }
}

/// CloudEvents in binary mode, as every record of the shop, but for the marks of a term.
fn record_of(entry: &Entry) -> Result<Record, AuditError> {
    // Text, numbers and JSON values: writing them does not fail.
    let payload = serde_json::to_vec(entry).unwrap_or_default();
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(AuditError::TooLarge(payload.len()));
    }
    let text = |name: &'static str, value: String| (name.into(), Bytes::from(value));
    let headers = vec![
        text("ce_specversion", "1.0".to_owned()),
        text("content-type", "application/json".to_owned()),
        text("ce_id", entry.id.to_string()),
        text("ce_type", "lonja.audit.Recorded".to_owned()),
        text("ce_source", "/lonja/audit".to_owned()),
        text("ce_subject", entry.deed.target.clone()),
    ];
    Ok(Record { key: Bytes::from(entry.operator.clone()), headers: Arc::new(headers), payload: payload.into() })
}

/// By an appender of its own: verbs are rare, and one that failed is of no use to the next.
fn append(log: &dyn EventLog, record: &Record) -> Result<(), AuditError> {
    let (tell, told) = mpsc::channel();
    let appender = log.appender(Arc::new(move |report: Report| {
        // Nobody may be waiting any more.
        let _ = tell.send(report.outcome);
    }))?;
    appender.append(HOME, record, 0)?;
    told.recv_timeout(PATIENCE).map_err(|_| AuditError::Late)??;
    Ok(())
}

fn entry_of(stored: &Stored) -> Recorded {
    let entry = serde_json::from_slice(&stored.record.payload).map_err(|error| error.to_string());
    Recorded { offset: stored.offset, time: stored.timestamp, entry }
}
