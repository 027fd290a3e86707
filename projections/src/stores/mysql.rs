//! MySQL 8 and MariaDB 10.6, and later. A batch is one transaction: it moves the checkpoints that are where they are
//! expected, rolls back if that is not all of them, and writes the rows.
//!
//! Rows travel as one JSON text, which the server takes apart (`JSON_TABLE`): so a view has one text of each statement,
//! prepared once for each connection, however many rows a batch has.

mod generations;
mod parking;
mod sql;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{Checkpoint, Partition, Terms};
use futures::TryStreamExt;
use parking_lot::RwLock;
use schemas::Term;
use serde::Serialize;
use sqlx::migrate::Migrator;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlRow};
use sqlx::{AssertSqlSafe, Connection, Executor, MySql, MySqlPool, Row, ValueRef};
use uuid::Uuid;

use self::sql::Statements;
use super::{ServerStore, Stores, checkpoint_of};
use crate::generations::Generations;
use crate::parking::Parking;
use crate::store::{AsOf, Checkpoints, Commit, Kind, Move, Reflects, Store, StoreError, Visit};
use crate::view::View;

/// What a start expects to find; applied by a step.
pub static MIGRATIONS: Migrator = sqlx::migrate!("migrations/mysql");

/// Connections of one process.
const CONNECTIONS: u32 = 16;
/// How long a query waits for one of them.
const ACQUIRE: Duration = Duration::from_secs(5);

/// A view that can live in MySQL. Its columns are the fields under which its row is serialised.
pub trait MysqlView: View<Key: Serialize + AsRef<str>> {
    /// Name and type of each column; the first is the key, a text in the collation `utf8mb4_bin`.
    const COLUMNS: &'static [(&'static str, &'static str)];

    /// Reads a row with all columns.
    ///
    /// # Errors
    /// When it is not what was written.
    fn read(row: &MySqlRow) -> Result<Self, sqlx::Error>;
}

/// The rows of one view.
pub struct MysqlStore<V> {
    pool: MySqlPool,
    generation: u32,
    statements: Arc<Statements>,
    /// Those of other generations.
    all: Arc<RwLock<BTreeMap<u32, Arc<Statements>>>>,
    view: PhantomData<fn() -> V>,
}

impl<V> Clone for MysqlStore<V> {
    fn clone(&self) -> Self {
        let Self { pool, generation, statements, all, view } = self;
        let (generation, statements, all) = (*generation, Arc::clone(statements), Arc::clone(all));
        Self { pool: pool.clone(), generation, statements, all, view: *view }
    }
}

pub(super) fn connect(url: &str) -> Result<MySqlPool, StoreError> {
    let options = MySqlConnectOptions::from_str(url)
        .map_err(|source| StoreError::Address { store: "MySQL", source: source.into() })?;
    let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE);
    // A transaction locks the rows that it changes and no gaps beside them.
    let pool = pool.after_connect(|connection, _| {
        Box::pin(async move {
            connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
            Ok(())
        })
    });
    Ok(pool.connect_lazy_with(options))
}

impl<V: MysqlView> ServerStore<V> for MysqlStore<V> {
    fn among(stores: &Stores) -> Option<Self> {
        stores.mysql.clone().map(|pool| Self::new(pool, V::GENERATION))
    }
}

impl<V: MysqlView> MysqlStore<V> {
    /// The store of a generation of `V` behind `pool`.
    #[must_use]
    pub fn new(pool: MySqlPool, generation: u32) -> Self {
        let statements = Arc::new(Statements::new(&V::table(generation), V::COLUMNS));
        Self { pool, generation, statements, all: Arc::default(), view: PhantomData }
    }

    async fn read_checkpoints(&self, on: impl Executor<'_, Database = MySql>) -> Result<Checkpoints, sqlx::Error> {
        let rows = sqlx::query(sql::CHECKPOINTS).bind(V::NAME).bind(self.generation).fetch_all(on).await?;
        let read = rows.iter().map(read_checkpoint::<V>).collect::<Result<Vec<_>, _>>()?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn seed_and_read(&self) -> Result<Checkpoints, sqlx::Error> {
        let none = Checkpoint { next: 0, terms: Terms::default(), topic_id: Uuid::nil(), last_record: 0 };
        let moves: Vec<_> =
            V::partitions().into_iter().map(|partition| Move { partition, expected: 0, to: none }).collect();
        let seed = sqlx::query(sql::SEED).bind(V::NAME).bind(self.generation).bind(json(&steps(&moves))?);
        seed.execute(&self.pool).await?;
        self.read_checkpoints(&self.pool).await
    }

    async fn write(&self, commit: &Commit<V>) -> Result<bool, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let moves = json(&steps(&commit.moves))?;
        let moved = sqlx::query(sql::MOVE).bind(moves).bind(V::NAME).bind(self.generation);
        if moved.execute(&mut *transaction).await?.rows_affected() != commit.moves.len() as u64 {
            transaction.rollback().await?;
            return Ok(false);
        }
        if !commit.deletes.is_empty() {
            let delete = sqlx::query(AssertSqlSafe(Arc::clone(&self.statements.delete)));
            delete.bind(json(&commit.deletes)?).execute(&mut *transaction).await?;
        }
        if !commit.upserts.is_empty() {
            let upsert = sqlx::query(AssertSqlSafe(Arc::clone(&self.statements.upsert)));
            upsert.bind(json(&commit.upserts)?).execute(&mut *transaction).await?;
        }
        if !commit.parking.is_empty()
            && !parking::write::<V>(self.generation, &commit.parking, &mut transaction).await?
        {
            transaction.rollback().await?;
            return Ok(false);
        }
        eventlog::fault::crash_point("in-mysql-transaction");
        transaction.commit().await?;
        Ok(true)
    }

    async fn read_some(&self, keys: &[V::Key]) -> Result<Vec<V>, sqlx::Error> {
        let load = sqlx::query(AssertSqlSafe(Arc::clone(&self.statements.load))).bind(json(&keys)?);
        load.fetch_all(&self.pool).await?.iter().map(V::read).collect()
    }

    /// The row called `key`.
    pub(crate) async fn look_up(&self, key: &V::Key) -> Result<AsOf<Option<V>>, StoreError> {
        self.ask(key).await.map_err(|source| StoreError::Load { view: V::NAME, source: source.into() })
    }

    async fn ask(&self, key: &V::Key) -> Result<AsOf<Option<V>>, sqlx::Error> {
        let home = V::home(key);
        let query =
            sqlx::query(AssertSqlSafe(Arc::clone(&self.statements.look_up))).bind(V::NAME).bind(self.generation);
        let query = query.bind(home.topic.name).bind(home.number).bind(json(&[key])?);
        let row = query.fetch_one(&self.pool).await?;
        let next: Option<i64> = row.try_get("next_offset")?;
        let (column, _) = V::COLUMNS[0];
        let found = if row.try_get_raw(column)?.is_null() { None } else { Some(V::read(&row)?) };
        Ok(AsOf { found, next: vec![(home, next.map_or(0, i64::cast_unsigned))] })
    }

    async fn read_part(
        &self,
        after: Option<&V::Key>,
        most: usize,
        visit: Visit<'_, V>,
    ) -> Result<Reflects, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        let mut transaction = connection.begin_with("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
        let Statements { first, next, .. } = &*self.statements;
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        let rows = match after {
            None => sqlx::query(AssertSqlSafe(Arc::clone(first))).bind(most),
            Some(after) => sqlx::query(AssertSqlSafe(Arc::clone(next))).bind(after.as_ref().to_owned()).bind(most),
        };
        let mut rows = rows.fetch(&mut *transaction);
        while let Some(row) = rows.try_next().await? {
            visit(V::read(&row)?);
        }
        drop(rows);
        let checkpoints = self.read_checkpoints(&mut *transaction).await?;
        let parked = parking::places::<V>(self.generation, &mut transaction).await?;
        transaction.rollback().await?;
        Ok(Reflects { checkpoints, parked })
    }
}

impl<V: MysqlView> Store<V> for MysqlStore<V> {
    fn kind(&self) -> Kind {
        Kind::Mysql
    }

    async fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        let read = self.read_checkpoints(&self.pool).await;
        read.map_err(|source| StoreError::Open { view: V::NAME, source: source.into() })
    }

    async fn open(&self) -> Result<Checkpoints, StoreError> {
        self.seed_and_read().await.map_err(|source| StoreError::Open { view: V::NAME, source: source.into() })
    }

    async fn load(&self, keys: &[V::Key]) -> Result<Vec<V>, StoreError> {
        self.read_some(keys).await.map_err(|source| StoreError::Load { view: V::NAME, source: source.into() })
    }

    async fn commit(&self, commit: Commit<V>) -> Result<(), StoreError> {
        match self.write(&commit).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::CheckpointMoved { view: V::NAME }),
            Err(source) if is_refusal(&source) => Err(StoreError::Refused { view: V::NAME, source: source.into() }),
            Err(source) => Err(StoreError::Commit { view: V::NAME, source: source.into() }),
        }
    }

    async fn scan(&self, after: Option<&V::Key>, most: usize, visit: Visit<'_, V>) -> Result<Reflects, StoreError> {
        self.read_part(after, most, visit)
            .await
            .map_err(|source| StoreError::Load { view: V::NAME, source: source.into() })
    }

    fn parking(&self) -> &dyn Parking {
        self
    }

    fn generation(&self) -> u32 {
        self.generation
    }

    fn numbered(&self, generation: u32) -> Self {
        if generation == self.generation {
            return self.clone();
        }
        let known = self.all.read().get(&generation).cloned();
        let statements = known.unwrap_or_else(|| {
            let new = Arc::new(Statements::new(&V::table(generation), V::COLUMNS));
            Arc::clone(self.all.write().entry(generation).or_insert(new))
        });
        Self { generation, statements, ..self.clone() }
    }

    fn generations(&self) -> &dyn Generations {
        self
    }
}

/// Whether the server refuses a value: data exceptions, violated constraints, and what triggers refuse, by their classes.
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| ["22", "23", "45"].iter().any(|class| code.starts_with(class)))
}

/// A [`Move`] as the server reads it.
#[derive(Serialize)]
struct Step {
    topic: &'static str,
    partition_number: u32,
    expected: u64,
    next_offset: u64,
    term_number: Option<u64>,
    term_nonce: Option<String>,
    sequence: u64,
    topic_id: String,
    last_record: String,
}

fn steps(moves: &[Move]) -> Vec<Step> {
    let step = |&Move { partition, expected, to }: &Move| Step {
        topic: partition.topic.name,
        partition_number: partition.number,
        expected,
        next_offset: to.next,
        term_number: to.terms.current.map(|term| term.number),
        term_nonce: to.terms.current.map(|term| hex(term.nonce)),
        sequence: to.terms.sequence,
        topic_id: to.topic_id.simple().to_string(),
        last_record: hex(to.last_record),
    };
    moves.iter().map(step).collect()
}

fn hex(number: u128) -> String {
    format!("{number:032x}")
}

fn unhex(text: &str) -> Result<u128, sqlx::Error> {
    u128::from_str_radix(text, 16).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn read_checkpoint<V: View>(row: &MySqlRow) -> Result<Option<(Partition, Checkpoint)>, sqlx::Error> {
    let number = |column| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
    let nonce: Option<String> = row.try_get("term_nonce")?;
    let nonce = nonce.as_deref().map(unhex).transpose()?;
    let term: Option<i64> = row.try_get("term_number")?;
    let current = term.zip(nonce).map(|(number, nonce)| Term { number: number.cast_unsigned(), nonce });
    let checkpoint = Checkpoint {
        next: number("next_offset")?,
        terms: Terms { current, sequence: number("sequence")? },
        topic_id: Uuid::from_u128(unhex(row.try_get("topic_id")?)?),
        last_record: unhex(row.try_get("last_record")?)?,
    };
    Ok(checkpoint_of::<V>(row.try_get("topic")?, row.try_get("partition_number")?, checkpoint))
}
