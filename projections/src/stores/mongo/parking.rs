//! What is parked, in MongoDB.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use mongodb::bson::{Document, doc};
use mongodb::options::{IndexOptions, WriteConcern};
use mongodb::{ClientSession, Database, IndexModel};

use super::{Indexed, MongoStore, MongoView, WriteError, checkpoints, reply, updates};
use crate::parking::{
    Changes, KeyRow, Parked, ParkedEvent, ParkedKey, ParkedRow, Parking, Place, Queue, ResolutionRow, Wishes, place,
};
use crate::store::{Source, StoreError};
use crate::view::View;

/// The collection of parked events.
pub(super) const PARKED: &str = "parked_events";
/// The collection of what operators decided.
const RESOLUTIONS: &str = "resolutions";

/// Both collections: in a transaction one can be made, but not by two at once.
pub(crate) fn parking_collections() -> [Indexed; 2] {
    let by_place = |collection: &str, first: Document| {
        let mut keys = first;
        keys.extend(doc! { "topic": 1, "partition_number": 1, "record_offset": 1 });
        let options = IndexOptions::builder().name("by_place".to_owned()).build();
        let index = IndexModel::builder().keys(keys).options(options).build();
        Indexed { collection: collection.to_owned(), indexes: vec![index] }
    };
    [by_place(PARKED, doc! { "view": 1, "generation": 1 }), by_place(RESOLUTIONS, doc! { "view": 1 })]
}

fn id<V: View>(generation: u32, (partition, offset): &Place) -> String {
    format!("{}/{partition}@{offset}", V::table(generation))
}

fn with_key<V: View>(generation: u32, key: &KeyRow) -> Document {
    let mut fields = checkpoints::filter::<V>(generation);
    fields.extend(doc! {
        "topic": key.topic, "partition_number": key.partition_number.cast_signed(), "record_key": &key.record_key,
    });
    fields
}

/// False when an event that is to wait no longer does not wait.
pub(super) async fn write<V: View>(
    database: &Database,
    generation: u32,
    changes: &Changes,
    session: &mut ClientSession,
) -> Result<bool, WriteError> {
    if !changes.done.is_empty() {
        let ids: Vec<String> = changes.done.iter().map(|place| id::<V>(generation, place)).collect();
        let events = database.collection::<Document>(PARKED);
        let deleted = events.delete_many(doc! { "_id": { "$in": ids } }).session(&mut *session).await?;
        if deleted.deleted_count != changes.done.len() as u64 {
            return Ok(false);
        }
    }
    if !changes.park.is_empty() {
        let park = |event: &ParkedEvent| {
            let row = ParkedRow::from(event);
            let mut fields = with_key::<V>(generation, &row.key);
            fields.extend(doc! { "record_offset": row.record_offset.cast_signed(), "content": row.content });
            doc! { "q": { "_id": id::<V>(generation, &event.place) }, "u": { "$set": fields }, "upsert": true }
        };
        let park = updates(PARKED, changes.park.iter().map(park).collect());
        reply(&database.run_command(park).session(&mut *session).await?)?;
    }
    if !changes.answered.is_empty() {
        let answered = updates(PARKED, set_wanted::<V>(generation, &changes.answered, false));
        reply(&database.run_command(answered).session(&mut *session).await?)?;
    }
    Ok(true)
}

fn set_wanted<V: View>(generation: u32, keys: &[ParkedKey], wanted: bool) -> Vec<Document> {
    let set = |key| doc! { "q": with_key::<V>(generation, &KeyRow::from(key)), "u": { "$set": { "wanted": wanted } }, "multi": true };
    keys.iter().map(set).collect()
}

/// Where the parked events stand.
pub(super) async fn places<V: View>(
    database: &Database,
    generation: u32,
    session: &mut ClientSession,
) -> Result<BTreeSet<Place>, Source> {
    let events = database.collection::<Document>(PARKED);
    let mut found = events.find(checkpoints::filter::<V>(generation)).session(&mut *session).await?;
    let mut places = BTreeSet::new();
    while let Some(document) = found.next(&mut *session).await.transpose()? {
        places.insert(read_place(&document)?);
    }
    Ok(places)
}

fn read_place(document: &Document) -> Result<Place, Source> {
    let number = document.get_i32("partition_number")?;
    Ok(place(document.get_str("topic")?, number, document.get_i64("record_offset")?)?)
}

fn read_key(document: &Document) -> Result<ParkedKey, Source> {
    let number = document.get_i32("partition_number")?;
    Ok(KeyRow::read(document.get_str("topic")?, number, document.get_str("record_key")?)?)
}

impl<V: MongoView> MongoStore<V> {
    async fn read_parked(&self) -> Result<Parked, Source> {
        let mut parked = Parked::default();
        let keys = [
            doc! { "$match": checkpoints::filter::<V>(self.generation) },
            doc! { "$group": {
                "_id": { "topic": "$topic", "partition_number": "$partition_number", "record_key": "$record_key" },
                "events": { "$sum": 1_i64 },
                "wanted": { "$max": { "$ifNull": ["$wanted", false] } },
            } },
        ];
        let mut found = self.database.collection::<Document>(PARKED).aggregate(keys).await?;
        while let Some(document) = found.try_next().await? {
            let events = document.get_i64("events")?.cast_unsigned();
            let queue = Queue { events, wanted: document.get_bool("wanted")? };
            parked.keys.insert(read_key(document.get_document("_id")?)?, queue);
        }
        let mut found = self.database.collection::<Document>(RESOLUTIONS).find(doc! { "view": V::NAME }).await?;
        while let Some(document) = found.try_next().await? {
            let place = read_place(&document)?;
            parked.resolutions.insert(place, ResolutionRow::read(place, document.get_str("content")?)?);
        }
        Ok(parked)
    }

    async fn read_events(&self, of: Option<&ParkedKey>, limit: usize) -> Result<Vec<ParkedEvent>, Source> {
        let filter = of.map_or_else(
            || checkpoints::filter::<V>(self.generation),
            |key| with_key::<V>(self.generation, &KeyRow::from(key)),
        );
        let order = doc! { "topic": 1, "partition_number": 1, "record_offset": 1 };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut found = self.database.collection::<Document>(PARKED).find(filter).sort(order).limit(limit).await?;
        let mut events = Vec::new();
        while let Some(document) = found.try_next().await? {
            let (offset, content) = (document.get_i64("record_offset")?, document.get_str("content")?);
            events.push(ParkedRow::read(read_key(&document)?, offset, content)?);
        }
        Ok(events)
    }

    async fn read_wanted(&self) -> Result<bool, Source> {
        let mut wanted = checkpoints::filter::<V>(self.generation);
        wanted.insert("wanted", true);
        Ok(self.database.collection::<Document>(PARKED).find_one(wanted).await?.is_some())
    }

    async fn write_wishes(&self, wishes: &Wishes) -> Result<(), Source> {
        let mut session = self.database.client().start_session().await?;
        session.start_transaction().write_concern(WriteConcern::majority()).await?;
        if !wishes.resolve.is_empty() {
            let resolve = |row: ResolutionRow| {
                let number = row.partition_number.cast_signed();
                let place = doc! {
                    "view": V::NAME, "topic": row.topic, "partition_number": number,
                    "record_offset": row.record_offset.cast_signed(),
                };
                doc! { "q": place, "u": { "$set": { "content": row.content } }, "upsert": true }
            };
            let resolve = wishes.resolve.iter().map(ResolutionRow::from).map(resolve).collect();
            reply(&self.database.run_command(updates(RESOLUTIONS, resolve)).session(&mut session).await?)?;
        }
        if !wishes.retry.is_empty() {
            let retry = updates(PARKED, set_wanted::<V>(self.generation, &wishes.retry, true));
            reply(&self.database.run_command(retry).session(&mut session).await?)?;
        }
        session.commit_transaction().await?;
        Ok(())
    }
}

impl<V: MongoView> Parking for MongoStore<V> {
    fn parked(&self) -> BoxFuture<'_, Result<Parked, StoreError>> {
        self.read_parked().map(|read| read.map_err(failed::<V>)).boxed()
    }

    fn events<'s>(
        &'s self,
        of: Option<&'s ParkedKey>,
        limit: usize,
    ) -> BoxFuture<'s, Result<Vec<ParkedEvent>, StoreError>> {
        self.read_events(of, limit).map(|read| read.map_err(failed::<V>)).boxed()
    }

    fn is_wanted(&self) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.read_wanted().map(|read| read.map_err(failed::<V>)).boxed()
    }

    fn wish(&self, wishes: Wishes) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.write_wishes(&wishes).await.map_err(failed::<V>) }.boxed()
    }
}

fn failed<V: View>(source: Source) -> StoreError {
    StoreError::Parking { view: V::NAME, source }
}
