//! MongoDB 6 and later, a replica set. A batch is one multi-document transaction of raw commands: checkpoints that are
//! where they are expected, then rows.
//!
//! The other way, rows guarded by a version and the checkpoints written last without a transaction, was measured and is
//! slower, because the guard costs more than the transaction. Entries a second into `activity_feed` by batches of 2,000,
//! 60,000 of them, MongoDB 6.0.5 on two cores that others used too, the better and the worse of two runs:
//!
//! | rows by | in a transaction | without |
//! |---|---|---|
//! | upsert | 19,900 / 17,900 | 16,700 / 11,300 |
//! | upsert with a guard | | 8,400 / 6,700 |
//! | insert | 36,200 / 25,400 | 34,900 / 29,300 |
//!
//! So a view whose rows are mostly new inserts them, and upserts a batch in which one is not.
//!
//! The write concern is one server, and its journal for fresh batches, because readers rely on the position that was
//! published. After a crash or a failover rows and checkpoints are lost together, and the log has them.

mod checkpoints;
mod generations;
mod orphans;
mod parking;

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::time::Duration;

use eventlog::Partition;
use futures::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{ErrorKind, TRANSIENT_TRANSACTION_ERROR};
use mongodb::options::{Acknowledgment, ClientOptions, TransactionOptions, WriteConcern};
use mongodb::{Client, Collection, Database, IndexModel};

pub(crate) use self::parking::parking_collections;
use super::{ServerStore, Stores};
use crate::generations::Generations;
use crate::parking::Parking;
use crate::store::{AsOf, Checkpoints, Commit, Kind, Reflects, Source, Store, StoreError, Visit};
use crate::view::View;

/// The collection of checkpoints.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// The database where the address names none.
const DATABASE: &str = "lonja";
/// Documents of one answer.
const BATCH: u32 = 1_000;
/// How long an operation looks for a server that can do it.
const SELECTION: Duration = Duration::from_secs(5);

/// A view that can live in MongoDB.
pub trait MongoView: View {
    /// A key as `_id`.
    fn id(key: &Self::Key) -> Bson;

    /// The row as a document whose `_id` is the key.
    fn document(&self) -> Document;

    /// Reads a document.
    ///
    /// # Errors
    /// When it is not what [`Self::document`] makes.
    fn read(document: &Document) -> Result<Self, ReadError>;

    /// What the collection is searched by, other than the key.
    fn indexes() -> Vec<IndexModel>;

    /// Whether a row that is written is hardly ever there already.
    const MOSTLY_NEW: bool = false;
}

/// The rows of one view.
pub struct MongoStore<V> {
    database: Database,
    generation: u32,
    view: PhantomData<fn() -> V>,
}

impl<V> Clone for MongoStore<V> {
    fn clone(&self) -> Self {
        Self { database: self.database.clone(), generation: self.generation, view: PhantomData }
    }
}

pub(super) async fn connect(url: &str) -> Result<Database, StoreError> {
    let address = |source: mongodb::error::Error| StoreError::Address { store: "MongoDB", source: source.into() };
    let mut options = ClientOptions::parse(url).await.map_err(address)?;
    options.server_selection_timeout = Some(SELECTION);
    let name = options.default_database.clone().unwrap_or_else(|| DATABASE.to_owned());
    options.app_name = Some(app_name(&name));
    Ok(Client::with_options(options).map_err(address)?.database(&name))
}

/// Names our connections to the server. It allows 128 bytes, and a database's name has less than 64.
fn app_name(database: &str) -> String {
    format!("lonja {database}")
}

impl<V: MongoView> ServerStore<V> for MongoStore<V> {
    fn among(stores: &Stores) -> Option<Self> {
        stores.mongo.clone().map(|database| Self::new(database, V::GENERATION))
    }
}

impl<V: MongoView> MongoStore<V> {
    /// The store of a generation of `V` in `database`.
    #[must_use]
    pub fn new(database: Database, generation: u32) -> Self {
        Self { database, generation, view: PhantomData }
    }

    fn table(&self) -> String {
        V::table(self.generation)
    }

    fn rows(&self) -> Collection<Document> {
        self.database.collection(&self.table())
    }

    /// The rows that `pipeline` finds, all of which come from partition `home`.
    pub(crate) async fn select(&self, home: Partition, pipeline: Vec<Document>) -> Result<AsOf<Vec<V>>, StoreError> {
        self.ask(home, pipeline).await.map_err(|source| StoreError::Load { view: V::NAME, source })
    }

    /// One command, which one server answers, and which needs the checkpoint before it can look for the rows: so they are
    /// never older than it.
    async fn ask(&self, home: Partition, pipeline: Vec<Document>) -> Result<AsOf<Vec<V>>, Source> {
        let rows = doc! { "from": self.table(), "pipeline": pipeline, "as": "rows" };
        let checkpoint = doc! { "$match": checkpoints::key::<V>(self.generation, home) };
        let stages = [checkpoint, doc! { "$project": { "next_offset": 1 } }, doc! { "$lookup": rows }];
        let mut found = self.checkpoint_documents().aggregate(stages).await?;
        let Some(document) = found.try_next().await? else { return Ok(AsOf { found: vec![], next: vec![(home, 0)] }) };
        let next = vec![(home, document.get_i64("next_offset")?.cast_unsigned())];
        let row = |row: &Bson| V::read(row.as_document().ok_or(ReadError::Value("rows"))?);
        Ok(AsOf { found: document.get_array("rows")?.iter().map(row).collect::<Result<_, _>>()?, next })
    }

    fn checkpoint_documents(&self) -> Collection<Document> {
        self.database.collection(CHECKPOINTS)
    }

    async fn read_checkpoints(&self) -> Result<Checkpoints, Source> {
        let found = self.checkpoint_documents().find(checkpoints::filter::<V>(self.generation)).await?;
        checkpoints::read_all::<V>(&found.try_collect::<Vec<_>>().await?)
    }

    async fn seed_and_read(&self) -> Result<Checkpoints, Source> {
        orphans::end(&self.database, V::NAME).await?;
        let seeds = V::partitions().into_iter().map(|p| checkpoints::seed::<V>(self.generation, p)).collect();
        reply(&self.database.run_command(updates(CHECKPOINTS, seeds)).await?)?;
        self.read_checkpoints().await
    }

    async fn write(&self, commit: &Commit<V>, how: Writing) -> Result<bool, WriteError> {
        let mut session = self.database.client().start_session().await?;
        let concern = WriteConcern::builder().w(Acknowledgment::Nodes(1)).journal(commit.is_fresh()).build();
        let options = TransactionOptions::builder().write_concern(concern).build();
        session.start_transaction().with_options(options).await?;
        if !commit.moves.is_empty() {
            let moves = updates(
                CHECKPOINTS,
                commit.moves.iter().map(|step| checkpoints::step::<V>(self.generation, step)).collect(),
            );
            if reply(&self.database.run_command(moves).session(&mut session).await?)? != commit.moves.len() {
                session.abort_transaction().await?;
                return Ok(false);
            }
        }
        if !commit.deletes.is_empty() {
            let keys: Vec<Bson> = commit.deletes.iter().map(V::id).collect();
            self.rows().delete_many(doc! { "_id": { "$in": keys } }).session(&mut session).await?;
        }
        if !commit.upserts.is_empty() {
            let rows = how.command(&self.table(), &commit.upserts);
            reply(&self.database.run_command(rows).session(&mut session).await?)?;
        }
        if !commit.parking.is_empty()
            && !parking::write::<V>(&self.database, self.generation, &commit.parking, &mut session).await?
        {
            session.abort_transaction().await?;
            return Ok(false);
        }
        eventlog::fault::crash_point("in-mongo-transaction");
        session.commit_transaction().await?;
        Ok(true)
    }

    /// A transaction sees one moment.
    async fn read_part(&self, after: Option<&V::Key>, most: usize, visit: Visit<'_, V>) -> Result<Reflects, Source> {
        let mut session = self.database.client().start_session().await?;
        session.start_transaction().await?;
        let wanted = after.map_or_else(Document::new, |after| doc! { "_id": { "$gt": V::id(after) } });
        let (rows, checkpoints) = (self.rows(), self.checkpoint_documents());
        let found = rows.find(wanted).sort(doc! { "_id": 1 }).limit(i64::try_from(most).unwrap_or(i64::MAX));
        let found = found.batch_size(u32::try_from(most).map_or(BATCH, |most| most.min(BATCH)));
        let mut found = found.session(&mut session).await?;
        while let Some(document) = found.next(&mut session).await.transpose()? {
            visit(V::read(&document)?);
        }
        let mut documents = Vec::new();
        let found = checkpoints.find(checkpoints::filter::<V>(self.generation));
        let mut found = found.session(&mut session).await?;
        while let Some(document) = found.next(&mut session).await.transpose()? {
            documents.push(document);
        }
        let parked = parking::places::<V>(&self.database, self.generation, &mut session).await?;
        session.abort_transaction().await?;
        Ok(Reflects { checkpoints: checkpoints::read_all::<V>(&documents)?, parked })
    }
}

impl<V: MongoView> Store<V> for MongoStore<V> {
    fn kind(&self) -> Kind {
        Kind::Mongo
    }

    async fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        self.read_checkpoints().await.map_err(|source| StoreError::Open { view: V::NAME, source })
    }

    async fn open(&self) -> Result<Checkpoints, StoreError> {
        self.seed_and_read().await.map_err(|source| StoreError::Open { view: V::NAME, source })
    }

    async fn load(&self, keys: &[V::Key]) -> Result<Vec<V>, StoreError> {
        let keys: Vec<Bson> = keys.iter().map(V::id).collect();
        let found = async {
            let documents: Vec<Document> =
                self.rows().find(doc! { "_id": { "$in": keys } }).await?.try_collect().await?;
            Ok(documents.iter().map(V::read).collect::<Result<_, _>>()?)
        };
        found.await.map_err(|source| StoreError::Load { view: V::NAME, source })
    }

    async fn commit(&self, commit: Commit<V>) -> Result<(), StoreError> {
        let first = if V::MOSTLY_NEW { Writing::Insert } else { Writing::Upsert };
        let written = match self.write(&commit, first).await {
            Err(WriteError::Duplicate) => self.write(&commit, Writing::Upsert).await,
            written => written,
        };
        match written {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::CheckpointMoved { view: V::NAME }),
            Err(source) if source.is_refusal() => Err(StoreError::Refused { view: V::NAME, source: source.into() }),
            Err(source) => {
                // It may have been a killed predecessor's that it conflicts with: then the next attempt does not.
                if source.is_conflict()
                    && let Err(error) = orphans::end(&self.database, V::NAME).await
                {
                    tracing::warn!(view = V::NAME, error, "open transactions could not be looked at");
                }
                Err(StoreError::Commit { view: V::NAME, source: source.into() })
            }
        }
    }

    async fn scan(&self, after: Option<&V::Key>, most: usize, visit: Visit<'_, V>) -> Result<Reflects, StoreError> {
        self.read_part(after, most, visit).await.map_err(|source| StoreError::Load { view: V::NAME, source })
    }

    fn parking(&self) -> &dyn Parking {
        self
    }

    fn generation(&self) -> u32 {
        self.generation
    }

    fn numbered(&self, generation: u32) -> Self {
        if generation == self.generation { self.clone() } else { Self::new(self.database.clone(), generation) }
    }

    fn generations(&self) -> &dyn Generations {
        self
    }
}

/// A document is not what its view writes.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A field is missing or of another type.
    #[error("a document's field cannot be read")]
    Field(#[from] mongodb::bson::error::Error),
    /// A field says what cannot be.
    #[error("a document's field {0} says what cannot be")]
    Value(&'static str),
}

/// How rows are written.
#[derive(Clone, Copy)]
enum Writing {
    /// All of them are new.
    Insert,
    /// Whether they are there or not.
    Upsert,
}

impl Writing {
    fn command<V: MongoView>(self, table: &str, rows: &[V]) -> Document {
        let upsert = |row: &V| doc! { "q": { "_id": V::id(&row.key()) }, "u": row.document(), "upsert": true };
        match self {
            Self::Insert => {
                let documents: Vec<Document> = rows.iter().map(V::document).collect();
                doc! { "insert": table, "documents": documents, "ordered": false }
            }
            Self::Upsert => updates(table, rows.iter().map(upsert).collect()),
        }
    }
}

fn updates(collection: &str, updates: Vec<Document>) -> Document {
    doc! { "update": collection, "updates": updates, "ordered": false }
}

/// Why a transaction did not do it.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// A row that was to be inserted is there.
    #[error("a document with this key is there already")]
    Duplicate,
    /// The server refused a document for what it says.
    #[error("the server refused a document: {0}")]
    Document(String),
    /// The server refused a write.
    #[error("the server refused writes: {0}")]
    Refused(String),
    /// The server could not be asked, or refused the command.
    #[error("the server did not do it")]
    Server(#[from] mongodb::error::Error),
}

impl WriteError {
    fn is_refusal(&self) -> bool {
        match self {
            Self::Document(_) => true,
            Self::Server(error) => {
                matches!(&*error.kind, ErrorKind::Command(command) if DOCUMENT.contains(&command.code))
            }
            Self::Duplicate | Self::Refused(_) => false,
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Server(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR))
    }
}

/// The server's code for a key that is there already.
const DUPLICATE: i32 = 11_000;
/// Its codes for a document that it does not take: the collection's rules, and documents that are too large.
const DOCUMENT: [i32; 4] = [121, 10_334, 17_419, 17_420];

/// How many documents a command met or made.
fn reply(reply: &Document) -> Result<usize, WriteError> {
    if let Ok(errors) = reply.get_array("writeErrors") {
        let code = |error: &Bson| error.as_document().and_then(|error| error.get_i32("code").ok());
        let all = |codes: &[i32]| errors.iter().all(|error| code(error).is_some_and(|code| codes.contains(&code)));
        return Err(match () {
            () if all(&[DUPLICATE]) => WriteError::Duplicate,
            () if all(&DOCUMENT) => WriteError::Document(format!("{errors:?}")),
            () => WriteError::Refused(format!("{errors:?}")),
        });
    }
    if let Some(error) = reply.get("writeConcernError") {
        return Err(WriteError::Refused(error.to_string()));
    }
    let n = reply.get("n").and_then(|n| n.as_i32().map(i64::from).or(n.as_i64()));
    n.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| WriteError::Refused(reply.to_string()))
}

/// A collection and what it is searched by.
pub struct Indexed {
    /// Its name.
    pub collection: String,
    /// Each with a name.
    pub indexes: Vec<IndexModel>,
}

impl Indexed {
    /// The collection of `V`.
    #[must_use]
    pub fn of<V: MongoView>() -> Self {
        Self { collection: V::table(V::GENERATION), indexes: V::indexes() }
    }
}

/// Makes those indexes of `collection` that are missing, and with them the collection.
pub(crate) async fn make_indexes(
    database: &Database,
    collection: &str,
    indexes: Vec<IndexModel>,
) -> Result<(), StoreError> {
    let made = database.collection::<Document>(collection).create_indexes(indexes).await;
    made.map(drop).map_err(|source| StoreError::Layout { doing: "indexing", store: "MongoDB", source: source.into() })
}

/// The names of the indexes of `collection`; none when it is not there.
pub(crate) async fn index_names(database: &Database, collection: &str) -> Result<BTreeSet<String>, StoreError> {
    let failed = |source: mongodb::error::Error| StoreError::Layout {
        doing: "inspecting",
        store: "MongoDB",
        source: source.into(),
    };
    let present = database.list_collection_names().filter(doc! { "name": collection }).await.map_err(failed)?;
    if present.is_empty() {
        return Ok(BTreeSet::new());
    }
    let names = database.collection::<Document>(collection).list_index_names().await.map_err(failed)?;
    Ok(names.into_iter().collect())
}
