//! Generations, in MongoDB.

use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use mongodb::bson::{Document, doc};
use mongodb::options::{ReadConcern, WriteConcern};

use super::{MongoStore, MongoView, checkpoints, make_indexes};
use crate::generations::{Generation, Generations, Notes, listed, next_number};
use crate::store::{Source, StoreError};
use crate::stores::{notes_of, notes_text};
use crate::view::View;

/// The collection of what is noted of generations.
const NOTES: &str = "generations";
/// The collection of pointers to the live ones.
const LIVE: &str = "live_generations";

fn id<V: View>(number: u32) -> Document {
    doc! { "_id": V::table(number), "view": V::NAME, "generation": i64::from(number) }
}

fn number(document: &Document) -> Result<u32, Source> {
    Ok(u32::try_from(document.get_i64("generation")?)?)
}

impl<V: MongoView> MongoStore<V> {
    async fn list_generations(&self) -> Result<Vec<Generation>, Source> {
        let pointer = self.database.collection::<Document>(LIVE).find_one(doc! { "_id": V::NAME }).await?;
        let live = pointer.as_ref().map(number).transpose()?;
        let mut noted = Vec::new();
        let mut found = self.database.collection::<Document>(NOTES).find(doc! { "view": V::NAME }).await?;
        while let Some(document) = found.try_next().await? {
            noted.push((number(&document)?, notes_of(document.get_str("notes")?)?));
        }
        Ok(listed(V::GENERATION, live, noted))
    }

    async fn create_generation(&self, notes: &Notes) -> Result<u32, Source> {
        let number = next_number(&self.list_generations().await?);
        make_indexes(&self.database, &V::table(number), V::indexes()).await?;
        let first = doc! { "$setOnInsert": { "generation": i64::from(V::GENERATION) } };
        let live = self.database.collection::<Document>(LIVE);
        live.update_one(doc! { "_id": V::NAME }, first).upsert(true).await?;
        // Of two that meet here the second fails and may try again.
        let mut fields = id::<V>(number);
        fields.insert("notes", notes_text(notes));
        let notes = self.database.collection::<Document>(NOTES);
        notes.insert_one(fields).write_concern(WriteConcern::majority()).await?;
        Ok(number)
    }

    async fn write_notes(&self, number: u32, notes: &Notes) -> Result<(), Source> {
        let mut fields = id::<V>(number);
        let key = doc! { "_id": fields.remove("_id") };
        fields.insert("notes", notes_text(notes));
        let noted = self.database.collection::<Document>(NOTES);
        let update = noted.update_one(key, doc! { "$set": fields }).upsert(true);
        update.write_concern(WriteConcern::majority()).await?;
        Ok(())
    }

    async fn move_pointer(&self, from: u32, to: u32) -> Result<bool, Source> {
        let mut session = self.database.client().start_session().await?;
        self.database.run_command(doc! { "ping": 1 }).session(&mut session).await?;
        let transaction = session.start_transaction().read_concern(ReadConcern::snapshot());
        transaction.write_concern(WriteConcern::majority()).await?;
        let mut positions = Vec::new();
        for number in [from, to] {
            let standing = self.checkpoint_documents();
            let mut found = standing.find(checkpoints::filter::<V>(number)).session(&mut session).await?;
            let mut documents = Vec::new();
            while let Some(document) = found.next(&mut session).await.transpose()? {
                documents.push(document);
            }
            positions.push(checkpoints::read_all::<V>(&documents)?);
        }
        let [old, new] = &positions[..] else { return Ok(false) };
        let next = |partition| new.get(partition).map_or(0, |checkpoint: &eventlog::Checkpoint| checkpoint.next);
        if old.iter().any(|(partition, checkpoint)| next(partition) < checkpoint.next) {
            session.abort_transaction().await?;
            return Ok(false);
        }
        let live = self.database.collection::<Document>(LIVE);
        let stands = doc! { "_id": V::NAME, "generation": i64::from(from) };
        let moved = doc! { "$set": { "generation": i64::from(to) } };
        let moved = live.update_one(stands, moved).session(&mut session).await?;
        session.commit_transaction().await?;
        Ok(moved.matched_count == 1)
    }

    async fn clear_generation(&self, number: u32) -> Result<(), Source> {
        for collection in [super::CHECKPOINTS, super::parking::PARKED] {
            let documents = self.database.collection::<Document>(collection);
            documents.delete_many(checkpoints::filter::<V>(number)).await?;
        }
        Ok(self.database.collection::<Document>(&V::table(number)).drop().await?)
    }
}

impl<V: MongoView> Generations for MongoStore<V> {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Generation>, StoreError>> {
        self.list_generations().map(|read| read.map_err(failed::<V>)).boxed()
    }

    fn create(&self, notes: Notes) -> BoxFuture<'_, Result<u32, StoreError>> {
        async move { self.create_generation(&notes).await.map_err(failed::<V>) }.boxed()
    }

    fn note(&self, number: u32, notes: Notes) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.write_notes(number, &notes).await.map_err(failed::<V>) }.boxed()
    }

    fn promote(&self, from: u32, to: u32) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.move_pointer(from, to).map(|done| done.map_err(failed::<V>)).boxed()
    }

    fn clear(&self, number: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        self.clear_generation(number).map(|done| done.map_err(failed::<V>)).boxed()
    }
}

fn failed<V: View>(source: Source) -> StoreError {
    StoreError::Generations { view: V::NAME, source }
}
