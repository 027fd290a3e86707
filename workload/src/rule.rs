//! The reader's rule once more, in words of its own: what checks the service must not share its mistakes.

use anyhow::Result;
use domain::order::{Order, OrderEvent};
use domain::stock::{StockEvent, StockItem};
use schemas::topics::{COMMAND_REFUSED, COMMAND_UNCHANGED, ORDER, STOCK};
use schemas::wire::log::decode_refusal;
use schemas::{Codec, CodecError, Contract, Envelope, Refusal, Term, Topic};

use crate::log_reader::{Raw, TopicLog};

/// A decision that counts.
#[derive(Debug, Clone)]
pub struct Decision {
    /// In which topic,
    pub topic: &'static Topic,
    /// partition
    pub partition: u32,
    /// and at which offset it stands.
    pub offset: u64,
    /// The record's key.
    pub key: String,
    /// Its headers.
    pub envelope: Envelope,
    /// What was decided.
    pub content: Content,
}

impl Decision {
    /// As `order.events/3@17`.
    #[must_use]
    pub fn position(&self) -> String {
        format!("{}/{}@{}", self.topic.name, self.partition, self.offset)
    }

    /// The event's name without its namespace.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.envelope.record_type.rsplit('.').next().unwrap_or_default()
    }
}

/// What was decided.
#[derive(Debug, Clone)]
pub enum Content {
    /// Something happened to an order.
    Order(OrderEvent),
    /// Something happened to a stock item.
    Stock(StockEvent),
    /// It was so already.
    Unchanged,
    /// No.
    Refused(Refusal),
    /// It counts, and nobody can read it: why not.
    Unreadable(String),
}

/// The decisions of a topic, and how many records were none.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    /// In the log's order in each partition.
    pub decisions: Vec<Decision>,
    /// Claims that opened a term.
    pub claims: u64,
    /// Records that do not count.
    pub voids: u64,
}

/// Applies the rule and reads what counts.
///
/// # Errors
/// When the schema registry does not answer.
pub fn judge(log: &TopicLog, codec: &Codec) -> Result<Judged> {
    let mut judged = Judged::default();
    let mut here: Option<u32> = None;
    let mut term: Option<Term> = None;
    let mut last = 0;
    for raw in &log.records {
        if here != Some(raw.partition) {
            (here, term, last) = (Some(raw.partition), None, 0);
        }
        let Ok(envelope) = Envelope::from_headers(&raw.headers) else {
            judged.voids += 1;
            continue;
        };
        if envelope.is_claim() {
            if term.is_none_or(|open| envelope.term.number > open.number) {
                (term, last) = (Some(envelope.term), 0);
                judged.claims += 1;
            } else {
                judged.voids += 1;
            }
        } else if term == Some(envelope.term) && envelope.sequence == last + 1 {
            last += 1;
            judged.decisions.push(decision(log.topic, raw, envelope, codec)?);
        } else {
            judged.voids += 1;
        }
    }
    Ok(judged)
}

fn decision(topic: &'static Topic, raw: &Raw, envelope: Envelope, codec: &Codec) -> Result<Decision> {
    let place = || format!("reading {}/{}@{}", topic.name, raw.partition, raw.offset);
    let content = match content(topic, &envelope.record_type, &raw.payload, codec) {
        Ok(content) => content,
        Err(error) if error.downcast_ref::<CodecError>().is_none_or(|error| !error.is_transient()) => {
            Content::Unreadable(format!("{error:#}"))
        }
        Err(error) => return Err(error.context(place())),
    };
    let key = String::from_utf8_lossy(&raw.key).into_owned();
    Ok(Decision { topic, partition: raw.partition, offset: raw.offset, key, envelope, content })
}

fn content(topic: &'static Topic, kind: &str, payload: &[u8], codec: &Codec) -> Result<Content> {
    Ok(if kind == COMMAND_REFUSED.name {
        Content::Refused(decode_refusal(codec, payload)?)
    } else if kind == COMMAND_UNCHANGED.name {
        Content::Unchanged
    } else if topic == &ORDER {
        Content::Order(Order::decode(codec, kind, payload)?)
    } else if topic == &STOCK {
        Content::Stock(StockItem::decode(codec, kind, payload)?)
    } else {
        anyhow::bail!("nothing here reads topic {}", topic.name)
    })
}
