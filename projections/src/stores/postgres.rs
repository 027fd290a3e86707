//! PostgreSQL. A batch is one statement: it locks the checkpoints where they are expected, and only if it got them all
//! writes them and the rows. So it needs no transaction around it and one exchange with the server, and its text is the
//! same for every batch.
//!
//! Large batches commit with `synchronous_commit=off`: after a crash rows and checkpoints are lost together, and the log
//! has them. Fresh ones wait for the disk, because readers rely on the position that was published.

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
use sqlx::error::BoxDynError;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgHasArrayType, PgPoolOptions, PgRow};
use sqlx::{Arguments, AssertSqlSafe, Encode, Executor, PgPool, Postgres, Row, Type, ValueRef};
use uuid::Uuid;

use self::sql::Statements;
use super::{ServerStore, Stores, checkpoint_of};
use crate::generations::Generations;
use crate::parking::Parking;
use crate::store::{AsOf, Checkpoints, Commit, Kind, Move, Reflects, Store, StoreError, Visit};
use crate::view::View;

/// What a start expects to find; applied by a step.
pub static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Connections of one process.
const CONNECTIONS: u32 = 16;
/// How long a query waits for one of them.
const ACQUIRE: Duration = Duration::from_secs(5);

/// A view that can live in PostgreSQL.
pub trait PostgresView: View<Key: PostgresKey> {
    /// Name and type of each column; the first is the key.
    const COLUMNS: &'static [(&'static str, &'static str)];

    /// Adds one array for each column, in their order.
    ///
    /// # Errors
    /// When a value cannot be encoded.
    fn bind(rows: &[Self], to: &mut PgArguments) -> Result<(), BoxDynError>;

    /// Reads a row with all columns.
    ///
    /// # Errors
    /// When it is not what [`Self::bind`] writes.
    fn read(row: &PgRow) -> Result<Self, sqlx::Error>;
}

/// A key that PostgreSQL knows as the type of a column.
pub trait PostgresKey: Type<Postgres> + PgHasArrayType + for<'q> Encode<'q, Postgres> {}

impl<T: Type<Postgres> + PgHasArrayType + for<'q> Encode<'q, Postgres>> PostgresKey for T {}

/// The rows of one view.
pub struct PostgresStore<V> {
    pool: PgPool,
    generation: u32,
    statements: Arc<Statements>,
    /// Those of other generations.
    all: Arc<RwLock<BTreeMap<u32, Arc<Statements>>>>,
    view: PhantomData<fn() -> V>,
}

impl<V> Clone for PostgresStore<V> {
    fn clone(&self) -> Self {
        let Self { pool, generation, statements, all, view } = self;
        let (generation, statements, all) = (*generation, Arc::clone(statements), Arc::clone(all));
        Self { pool: pool.clone(), generation, statements, all, view: *view }
    }
}

pub(super) fn connect(url: &str) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|source| StoreError::Address { store: "PostgreSQL", source: source.into() })?
        .application_name("lonja")
        .options([("synchronous_commit", "off"), ("jit", "off")]);
    Ok(PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE).connect_lazy_with(options))
}

impl<V: PostgresView> ServerStore<V> for PostgresStore<V> {
    fn among(stores: &Stores) -> Option<Self> {
        stores.postgres.clone().map(|pool| Self::new(pool, V::GENERATION))
    }
}

impl<V: PostgresView> PostgresStore<V> {
    /// The store of a generation of `V` behind `pool`.
    #[must_use]
    pub fn new(pool: PgPool, generation: u32) -> Self {
        let statements = Arc::new(Statements::new(&V::table(generation), V::COLUMNS));
        Self { pool, generation, statements, all: Arc::default(), view: PhantomData }
    }

    fn number(&self) -> i32 {
        self.generation.cast_signed()
    }

    /// The row called `key`.
    pub(crate) async fn look_up(&self, key: V::Key) -> Result<AsOf<Option<V>>, StoreError> {
        let (home, sql) = (V::home(&key), Arc::clone(&self.statements.look_up));
        let found = self.ask(sql, vec![home], |to| to.add(key)).await;
        Ok(found.map_err(unread::<V>)?.map(|mut rows| rows.pop()))
    }

    /// All of the view's columns of the rows that `sql` selects, in its order; its parameters, numbered from `$4`, are what
    /// `bind` adds.
    pub(crate) async fn select(
        &self,
        sql: &str,
        bind: impl FnOnce(&mut PgArguments) -> Result<(), BoxDynError>,
    ) -> Result<AsOf<Vec<V>>, StoreError> {
        self.ask(sql::as_of(sql).into(), V::partitions(), bind).await.map_err(unread::<V>)
    }

    async fn ask(
        &self,
        sql: Arc<str>,
        partitions: Vec<Partition>,
        bind: impl FnOnce(&mut PgArguments) -> Result<(), BoxDynError>,
    ) -> Result<AsOf<Vec<V>>, sqlx::Error> {
        let mut to = PgArguments::default();
        let numbers = column(&partitions, |partition| partition.number.cast_signed());
        let bound = to.add(V::NAME).and_then(|()| to.add(self.number())).and_then(|()| to.add(numbers));
        bound.and_then(|()| bind(&mut to)).map_err(sqlx::Error::Encode)?;
        let rows = sqlx::query_with(AssertSqlSafe(sql), to).fetch_all(&self.pool).await?;
        let known = rows.first().map(read_positions).transpose()?.unwrap_or_default();
        let next = |partition: Partition| {
            let at =
                known.iter().find(|(topic, number, _)| (&**topic, *number) == (partition.topic.name, partition.number));
            (partition, at.map_or(0, |(_, _, next)| *next))
        };
        let (key, _) = V::COLUMNS[0];
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            if !row.try_get_raw(key)?.is_null() {
                found.push(V::read(row)?);
            }
        }
        Ok(AsOf { found, next: partitions.into_iter().map(next).collect() })
    }

    async fn read_checkpoints(&self, on: impl Executor<'_, Database = Postgres>) -> Result<Checkpoints, sqlx::Error> {
        let rows = sqlx::query(sql::CHECKPOINTS).bind(V::NAME).bind(self.number()).fetch_all(on).await?;
        let read = rows.iter().map(read_checkpoint::<V>).collect::<Result<Vec<_>, _>>()?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn seed_and_read(&self) -> Result<Checkpoints, sqlx::Error> {
        let partitions = V::partitions();
        let topics: Vec<&str> = partitions.iter().map(|partition| partition.topic.name).collect();
        let numbers: Vec<i32> = partitions.iter().map(|partition| partition.number.cast_signed()).collect();
        let seed = sqlx::query(sql::SEED).bind(V::NAME).bind(self.number()).bind(topics).bind(numbers);
        seed.execute(&self.pool).await?;
        self.read_checkpoints(&self.pool).await
    }

    async fn write(&self, commit: &Commit<V>) -> Result<bool, sqlx::Error> {
        let done = if commit.parking.is_empty() {
            self.write_batch(commit, &self.pool).await?
        } else {
            let mut transaction = self.pool.begin().await?;
            let done = self.write_batch(commit, &mut *transaction).await?
                && parking::write::<V>(self.number(), &commit.parking, &mut transaction).await?;
            if done {
                transaction.commit().await?
            } else {
                transaction.rollback().await?
            }
            done
        };
        eventlog::fault::crash_point("after-postgres-commit");
        Ok(done)
    }

    async fn write_batch(
        &self,
        commit: &Commit<V>,
        on: impl Executor<'_, Database = Postgres>,
    ) -> Result<bool, sqlx::Error> {
        let arguments = arguments(self.number(), commit).map_err(sqlx::Error::Encode)?;
        let sql = AssertSqlSafe(Arc::clone(&self.statements.commit));
        let moved: i64 = sqlx::query_scalar_with(sql, arguments).fetch_one(on).await?;
        Ok(moved.cast_unsigned() == commit.moves.len() as u64)
    }

    async fn read_part(
        &self,
        after: Option<&V::Key>,
        most: usize,
        visit: Visit<'_, V>,
    ) -> Result<Reflects, sqlx::Error> {
        let mut transaction = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let Statements { first, next, .. } = &*self.statements;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = match after {
            None => sqlx::query(AssertSqlSafe(Arc::clone(first))).bind(most),
            Some(after) => sqlx::query(AssertSqlSafe(Arc::clone(next))).bind(most).bind(after.clone()),
        };
        let mut rows = rows.fetch(&mut *transaction);
        while let Some(row) = rows.try_next().await? {
            visit(V::read(&row)?);
        }
        drop(rows);
        let checkpoints = self.read_checkpoints(&mut *transaction).await?;
        let parked = parking::places::<V>(self.number(), &mut *transaction).await?;
        transaction.rollback().await?;
        Ok(Reflects { checkpoints, parked })
    }
}

impl<V: PostgresView> Store<V> for PostgresStore<V> {
    fn kind(&self) -> Kind {
        Kind::Postgres
    }

    async fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        let read = self.read_checkpoints(&self.pool).await;
        read.map_err(|source| StoreError::Open { view: V::NAME, source: source.into() })
    }

    async fn open(&self) -> Result<Checkpoints, StoreError> {
        self.seed_and_read().await.map_err(|source| StoreError::Open { view: V::NAME, source: source.into() })
    }

    async fn load(&self, keys: &[V::Key]) -> Result<Vec<V>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(Arc::clone(&self.statements.load))).bind(keys.to_vec());
        let rows = query.fetch_all(&self.pool).await.and_then(|rows| rows.iter().map(V::read).collect());
        rows.map_err(unread::<V>)
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
        self.read_part(after, most, visit).await.map_err(unread::<V>)
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

/// Whether the server refuses a value: data exceptions and violated constraints, by their classes.
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

fn unread<V: View>(source: sqlx::Error) -> StoreError {
    StoreError::Load { view: V::NAME, source: source.into() }
}

/// What [`sql::as_of`] says of partitions: topic, number, next offset.
fn read_positions(row: &PgRow) -> Result<Vec<(String, u32, u64)>, sqlx::Error> {
    let topics: Option<Vec<String>> = row.try_get("topics")?;
    let numbers: Option<Vec<i32>> = row.try_get("numbers")?;
    let next: Option<Vec<i64>> = row.try_get("next_offsets")?;
    let all = topics.into_iter().flatten().zip(numbers.into_iter().flatten()).zip(next.into_iter().flatten());
    Ok(all.map(|((topic, number), next)| (topic, number.cast_unsigned(), next.cast_unsigned())).collect())
}

/// One array of `rows`' values of a column.
pub fn column<'r, V, T>(rows: &'r [V], value: impl Fn(&'r V) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn arguments<V: PostgresView>(generation: i32, commit: &Commit<V>) -> Result<PgArguments, BoxDynError> {
    let moves = &commit.moves[..];
    let term = |step: &Move| step.to.terms.current;
    let mut to = PgArguments::default();
    to.add(V::NAME)?;
    to.add(generation)?;
    to.add(column(moves, |step| step.partition.topic.name))?;
    to.add(column(moves, |step| step.partition.number.cast_signed()))?;
    to.add(column(moves, |step| step.expected.cast_signed()))?;
    to.add(column(moves, |step| step.to.next.cast_signed()))?;
    to.add(column(moves, |step| term(step).map(|term| term.number.cast_signed())))?;
    to.add(column(moves, |step| term(step).map(|term| Uuid::from_u128(term.nonce))))?;
    to.add(column(moves, |step| step.to.terms.sequence.cast_signed()))?;
    to.add(column(moves, |step| step.to.topic_id))?;
    to.add(column(moves, |step| Uuid::from_u128(step.to.last_record)))?;
    to.add(commit.deletes.clone())?;
    to.add(if commit.is_fresh() { "on" } else { "off" })?;
    V::bind(&commit.upserts, &mut to)?;
    Ok(to)
}

fn read_checkpoint<V: View>(row: &PgRow) -> Result<Option<(Partition, Checkpoint)>, sqlx::Error> {
    let number: Option<i64> = row.try_get("term_number")?;
    let nonce: Option<Uuid> = row.try_get("term_nonce")?;
    let current =
        number.zip(nonce).map(|(number, nonce)| Term { number: number.cast_unsigned(), nonce: nonce.as_u128() });
    let checkpoint = Checkpoint {
        next: row.try_get::<i64, _>("next_offset")?.cast_unsigned(),
        terms: Terms { current, sequence: row.try_get::<i64, _>("sequence")?.cast_unsigned() },
        topic_id: row.try_get("topic_id")?,
        last_record: row.try_get::<Uuid, _>("last_record")?.as_u128(),
    };
    Ok(checkpoint_of::<V>(row.try_get("topic")?, row.try_get("partition_number")?, checkpoint))
}
