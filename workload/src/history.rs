//! What a load sent and what it was answered: one line of JSON per attempt, so that whoever judges needs nobody's memory.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// One request and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its `Idempotency-Key`: attempts with one key are one command.
    pub key: String,
    /// `POST` or `DELETE`; `GET` for a read.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its body; `null` where it had none.
    pub request: Value,
    /// Of a read, the position whose token it sent: it must show at least that.
    #[serde(default)]
    pub token: Option<String>,
    /// What is known of it.
    pub outcome: Outcome,
    /// The answer's status, if there was an answer.
    pub status: Option<u16>,
    /// The answer's body as it came, or why there was none.
    pub body: String,
    /// Where the answer says that the decision stands, as `order.events/3@17`.
    pub position: Option<String>,
    /// The answer says that it was given before.
    pub replayed: bool,
    /// When it was sent, in milliseconds since 1970.
    pub sent_ms: i64,
    /// When it ended.
    pub ended_ms: i64,
}

/// What is known of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Answered with yes: it is in the log for ever. Of a read: answered.
    Ok,
    /// Answered with a recorded no: that is in the log for ever.
    Refused,
    /// It was not begun and never will be by this attempt.
    Failed,
    /// It may have been carried out, or may be yet.
    Unknown,
}

impl Attempt {
    /// Whether it asked for what is shown and for no decision.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.method == "GET"
    }

    /// The aggregate that it is for, as records name it.
    #[must_use]
    pub fn subject(&self) -> String {
        let path: Vec<&str> = self.path.trim_start_matches("/v1/").split('/').collect();
        match path.as_slice() {
            ["orders", id, ..] => format!("order/{id}"),
            ["stock", sku, ..] => format!("stock/{sku}"),
            _ => format!("order/{}", order_id(command_id(&self.key))),
        }
    }

    /// Whether only sending it again brings a definite answer. A read changes nothing and is not repeated.
    #[must_use]
    pub fn wants_repeating(&self) -> bool {
        !self.is_read() && (self.outcome == Outcome::Unknown || self.status.is_none_or(|status| status == 503))
    }
}

impl Outcome {
    /// Whether the decision is in the log.
    #[must_use]
    pub fn is_decided(self) -> bool {
        matches!(self, Self::Ok | Self::Refused)
    }
}

/// Namespace of the ids of commands: `gateway` has the same constant, and neither may ever change.
const COMMANDS: Uuid = Uuid::from_u128(0x9d0f_6c5e_2b7a_4a53_8e0c_5f1d_7a34_c6b1);

/// The id of the command that `key` names, as it stands in the record.
#[must_use]
pub fn command_id(key: &str) -> Uuid {
    Uuid::new_v5(&COMMANDS, format!("anonymous\0{key}").as_bytes())
}

/// Namespace of the ids of orders, likewise.
const ORDERS: Uuid = Uuid::from_u128(0x1f8b_d9a4_63c7_4de2_b5f0_e9a1_0c82_47d3);

/// The id of the order that the command with this id places.
#[must_use]
pub fn order_id(command_id: Uuid) -> Uuid {
    Uuid::new_v5(&ORDERS, command_id.as_bytes())
}

/// The position in a `Consistency-Token` of one decision.
#[must_use]
pub fn position(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

/// The `Consistency-Token` of one position.
#[must_use]
pub fn token(position: &str) -> String {
    URL_SAFE_NO_PAD.encode(position)
}

/// Writes a history.
pub struct Recorder(BufWriter<File>);

impl Recorder {
    /// Begins a new file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(file: &Path) -> Result<Self> {
        Ok(Self(BufWriter::new(File::create(file).with_context(|| format!("creating {}", file.display()))?)))
    }

    /// Adds an attempt.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, attempt: &Attempt) -> Result<()> {
        serde_json::to_writer(&mut self.0, attempt).context("writing the history")?;
        self.0.write_all(b"\n").context("writing the history")
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.0.flush().context("writing the history")
    }
}

/// Reads a history.
///
/// # Errors
/// When it cannot be read.
pub fn read(file: &Path) -> Result<Vec<Attempt>> {
    let place = || format!("reading {}", file.display());
    let lines = BufReader::new(File::open(file).with_context(place)?).lines();
    lines.map(|line| serde_json::from_str(&line.with_context(place)?).with_context(place)).collect()
}
