//! What happened to an order or a SKU, newest first: `GET /v1/activity?subject=order/{id}`. In MongoDB, one document
//! for each event, key = where its record stands: the event's id is its command's, and may stand in two partitions where
//! two nodes met one idempotency key for two aggregates.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use domain::Timestamp;
use domain::order::{Order, OrderEvent};
use domain::stock::{StockEvent, StockItem};
use eventlog::{Admitted, Partition};
use mongodb::IndexModel;
use mongodb::bson::{self, Bson, Document, doc};
use mongodb::options::IndexOptions;
use schemas::{Codec, CodecError, Envelope, Topic, topics};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::Page;
use crate::store::{AsOf, StoreError};
use crate::stores::memory::MemoryView;
use crate::stores::mongo::{MongoStore, MongoView, ReadError};
use crate::view::{Recorded, View, recorded};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// The event's id.
    pub id: Uuid,
    /// To what: `order/{id}`, `stock/{sku}`.
    pub subject: String,
    /// What, for example `OrderPlaced`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// When, by the owner's clock.
    pub at: Timestamp,
    /// The subject's version afterwards.
    pub version: u64,
    /// Where its record stands: which topic,
    pub topic: Cow<'static, str>,
    /// which partition,
    pub partition: u32,
    /// which offset. A subject's events are in this order.
    pub offset: u64,
    /// The gist of it.
    pub data: Gist,
}

/// Where the record of an entry stands, as `order.events/3@17`; in the order of these texts, which is MongoDB's.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    topic: Cow<'static, str>,
    partition: u32,
    offset: u64,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.to_string().cmp(&other.to_string())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The gist of an event: values by name, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gist(Vec<(Cow<'static, str>, Datum)>);

impl Gist {
    fn of<const N: usize>(values: [(&'static str, Datum); N]) -> Self {
        let mut values = Vec::from(values.map(|(name, datum)| (Cow::Borrowed(name), datum)));
        values.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self(values)
    }
}

impl Serialize for Gist {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, datum)| (name, datum)))
    }
}

/// A value in the gist of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Datum {
    /// A number: minor units, or pieces.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl From<u64> for Datum {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl View for Activity {
    const NAME: &'static str = "activity_feed";
    const GENERATION: u32 = 2;
    const TOPICS: &'static [&'static Topic] = &[&topics::ORDER, &topics::STOCK];

    type Key = Entry;
    type Event = Self;

    fn decode(codec: &Codec, admitted: &Admitted) -> Result<Option<Self>, CodecError> {
        if admitted.partition.topic == &topics::ORDER {
            Ok(recorded::<Order>(codec, admitted)?.map(|recorded| Self::of(recorded, of_order)))
        } else {
            Ok(recorded::<StockItem>(codec, admitted)?.map(|recorded| Self::of(recorded, of_stock)))
        }
    }

    fn key_of(event: &Self) -> Self::Key {
        event.key()
    }

    fn key(&self) -> Self::Key {
        Entry { topic: self.topic.clone(), partition: self.partition, offset: self.offset }
    }

    fn home(key: &Self::Key) -> Partition {
        let topic = if key.topic == topics::ORDER.name { &topics::ORDER } else { &topics::STOCK };
        Partition { topic, number: key.partition }
    }

    const ROWS_OF_ONE_RECORD: bool = true;

    fn needs_row(_: &Self) -> bool {
        false
    }

    fn fold(_: Option<Self>, event: &Self) -> Option<Self> {
        Some(event.clone())
    }
}

impl Activity {
    fn of<E>(recorded: Recorded<E>, gist: fn(&E) -> Gist) -> Self {
        let Recorded { partition: Partition { topic, number }, offset, envelope, event } = recorded;
        let Envelope { id, time, version, .. } = *envelope;
        Self {
            id,
            subject: envelope.subject.clone(),
            kind: short(&envelope.record_type),
            at: time,
            version,
            topic: topic.name.into(),
            partition: number,
            offset,
            data: gist(&event),
        }
    }
}

/// `OrderPlaced` of `lonja.order.OrderPlaced`.
fn short(record_type: &Cow<'static, str>) -> Cow<'static, str> {
    let last = |name: &str| name.rfind('.').map_or(0, |dot| dot + 1);
    match record_type {
        Cow::Borrowed(name) => Cow::Borrowed(&name[last(name)..]),
        Cow::Owned(name) => Cow::Owned(name[last(name)..].to_owned()),
    }
}

fn of_order(event: &OrderEvent) -> Gist {
    let (total, what) = match event {
        OrderEvent::OrderPlaced { customer_id, total, .. } => (total, ("customer_id", customer_id.as_str().into())),
        OrderEvent::OrderCancelled { reason, total, .. } => (total, ("reason", reason.as_str().into())),
    };
    Gist::of([what, ("total", Datum::Number(total.amount)), ("currency", total.currency.code().into())])
}

fn of_stock(event: &StockEvent) -> Gist {
    let (what, quantity, available) = match event {
        StockEvent::StockReceived { quantity, reference, available_after, .. } => {
            (("reference", reference.as_str().into()), quantity.get(), available_after)
        }
        StockEvent::StockReserved { reservation_id, quantity, available_after, .. }
        | StockEvent::ReservationReleased { reservation_id, quantity, available_after, .. } => {
            (("reservation_id", reservation_id.as_str().into()), quantity.get(), available_after)
        }
    };
    Gist::of([what, ("quantity", Datum::Number(quantity.into())), ("available_after", (*available).into())])
}

impl MongoView for Activity {
    /// Each event makes an entry of its own.
    const MOSTLY_NEW: bool = true;

    fn id(key: &Self::Key) -> Bson {
        key.to_string().into()
    }

    fn document(&self) -> Document {
        let data: Document = self.data.0.iter().map(|(name, datum)| (name.to_string(), Bson::from(datum))).collect();
        doc! {
            "_id": Self::id(&self.key()),
            "id": bson::Uuid::from_bytes(self.id.into_bytes()),
            "subject": &self.subject,
            "type": &*self.kind,
            "at": bson::DateTime::from_millis(self.at.0),
            "version": self.version.cast_signed(),
            "topic": &*self.topic,
            "partition": i64::from(self.partition),
            "offset": self.offset.cast_signed(),
            "data": data,
        }
    }

    fn read(document: &Document) -> Result<Self, ReadError> {
        let Some(Bson::Binary(id)) = document.get("id") else { return Err(ReadError::Value("id")) };
        let data =
            document.get_document("data")?.iter().map(|(name, value)| Ok((name.clone().into(), value.try_into()?)));
        Ok(Self {
            id: Uuid::from_bytes(id.to_uuid()?.bytes()),
            subject: document.get_str("subject")?.to_owned(),
            kind: document.get_str("type")?.to_owned().into(),
            at: Timestamp(document.get_datetime("at")?.timestamp_millis()),
            version: document.get_i64("version")?.cast_unsigned(),
            topic: document.get_str("topic")?.to_owned().into(),
            partition: u32::try_from(document.get_i64("partition")?).map_err(|_| ReadError::Value("partition"))?,
            offset: document.get_i64("offset")?.cast_unsigned(),
            data: Gist(data.collect::<Result<_, ReadError>>()?),
        })
    }

    fn indexes() -> Vec<IndexModel> {
        let by_subject = IndexOptions::builder().name("by_subject".to_owned()).build();
        vec![IndexModel::builder().keys(doc! { "subject": 1, "offset": -1 }).options(by_subject).build()]
    }
}

impl From<&Datum> for Bson {
    fn from(datum: &Datum) -> Self {
        match datum {
            Datum::Number(number) => Self::Int64(*number),
            Datum::Text(text) => Self::String(text.clone()),
        }
    }
}

impl TryFrom<&Bson> for Datum {
    type Error = ReadError;

    fn try_from(value: &Bson) -> Result<Self, ReadError> {
        match value {
            Bson::Int64(number) => Ok(Self::Number(*number)),
            Bson::String(text) => Ok(Self::Text(text.clone())),
            _ => Err(ReadError::Value("data")),
        }
    }
}

impl MemoryView for Activity {
    type Place = u64;

    fn listed(&self) -> Option<(&str, u64)> {
        Some((&self.subject, self.offset))
    }
}

/// Finds what happened to a subject.
pub type Activities = super::InMongo<Activity>;

impl Activities {
    /// At most `limit` entries of `subject`, all of which stand in partition `home`, newest first, from before the offset `after`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn by_subject(
        &self,
        home: Partition,
        subject: &str,
        limit: usize,
        after: Option<u64>,
    ) -> Result<AsOf<Page<Activity, u64>>, StoreError> {
        let rows = match self {
            Self::Memory(store) => store.last(&[home], subject, after, limit + 1),
            Self::Server(store) => in_mongo(store, home, subject, limit + 1, after).await?,
        };
        Ok(rows.map(|rows| Page::cut(rows, limit, |row| row.offset)))
    }
}

async fn in_mongo(
    store: &MongoStore<Activity>,
    home: Partition,
    subject: &str,
    limit: usize,
    after: Option<u64>,
) -> Result<AsOf<Vec<Activity>>, StoreError> {
    let mut filter = doc! { "subject": subject };
    if let Some(offset) = after {
        filter.insert("offset", doc! { "$lt": offset.cast_signed() });
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let pipeline = vec![doc! { "$match": filter }, doc! { "$sort": { "offset": -1 } }, doc! { "$limit": limit }];
    store.select(home, pipeline).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::testing::{cancelled, placed, received};

    #[test]
    fn an_entry_says_what_happened_and_where_it_is_written() {
        let entry = Activity::of(cancelled(), of_order);
        assert_eq!((&*entry.kind, entry.version, entry.offset), ("OrderCancelled", 2, 2));
        let json = serde_json::to_value(&entry).unwrap();
        assert_eq!(json["data"], serde_json::json!({"reason": "late", "total": 700, "currency": "EUR"}));
        assert_eq!(json["type"], "OrderCancelled");
    }

    #[test]
    fn one_id_in_two_partitions_makes_two_entries() {
        let one = Activity::of(placed("ann", 5), of_order);
        let other = Activity { partition: one.partition + 1, ..one.clone() };
        assert_ne!(Activity::id(&one.key()), Activity::id(&other.key()));
    }

    #[test]
    fn orders_and_stock_stand_in_one_feed() {
        let order = Activity::of(placed("ann", 5), of_order);
        let stock = Activity::of(received(10, 10, 10), of_stock);
        assert_eq!((&*order.topic, &*stock.topic), ("order.events", "stock.events"));
        assert_eq!(stock.subject, "stock/tea");
        assert_eq!(serde_json::to_value(&stock.data).unwrap()["quantity"], 10);
        assert_eq!(Activity::fold(None, &stock), Some(stock));
    }
}
