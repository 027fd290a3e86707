//! What is parked, in PostgreSQL.

use std::collections::BTreeSet;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::postgres::PgRow;
use sqlx::{Executor, PgConnection, Postgres, Row};

use super::{PostgresStore, PostgresView, column};
use crate::parking::{
    Changes, KeyRow, OddRow, Parked, ParkedEvent, ParkedKey, ParkedRow, Parking, Place, Queue, ResolutionRow, Wishes,
    place,
};
use crate::store::StoreError;
use crate::view::View;

const KEYS: &str = "
SELECT topic, partition_number, record_key, count(*) AS events, bool_or(wanted) AS wanted
FROM parked_events WHERE view_name = $1 AND generation = $2
GROUP BY topic, partition_number, record_key";

const RESOLUTIONS: &str = "
SELECT topic, partition_number, record_offset, content FROM resolutions WHERE view_name = $1";

const EVENTS: &str = "
SELECT topic, partition_number, record_offset, record_key, content FROM parked_events
WHERE view_name = $1 AND generation = $2
  AND ($3::text IS NULL OR (topic = $3 AND partition_number = $4 AND record_key = $5))
ORDER BY topic, partition_number, record_offset LIMIT $6";

const PLACES: &str = "
SELECT topic, partition_number, record_offset FROM parked_events WHERE view_name = $1 AND generation = $2";

const WANTED: &str = "
SELECT EXISTS (SELECT FROM parked_events WHERE view_name = $1 AND generation = $2 AND wanted)";

const PARK: &str = "
INSERT INTO parked_events (view_name, generation, topic, partition_number, record_key, record_offset, content)
SELECT $1, $2, p.* FROM UNNEST($3::text[], $4::int[], $5::text[], $6::bigint[], $7::text[]) AS p
ON CONFLICT (view_name, generation, topic, partition_number, record_offset) DO UPDATE SET content = excluded.content";

const DONE: &str = "
DELETE FROM parked_events AS p
USING UNNEST($3::text[], $4::int[], $5::bigint[]) AS d (topic, partition_number, record_offset)
WHERE p.view_name = $1 AND p.generation = $2 AND p.topic = d.topic AND p.partition_number = d.partition_number
  AND p.record_offset = d.record_offset";

const SET_WANTED: &str = "
UPDATE parked_events AS p SET wanted = $6
FROM UNNEST($3::text[], $4::int[], $5::text[]) AS k (topic, partition_number, record_key)
WHERE p.view_name = $1 AND p.generation = $2 AND p.topic = k.topic AND p.partition_number = k.partition_number
  AND p.record_key = k.record_key";

const RESOLVE: &str = "
INSERT INTO resolutions (view_name, topic, partition_number, record_offset, content)
SELECT $1, r.* FROM UNNEST($2::text[], $3::int[], $4::bigint[], $5::text[]) AS r
ON CONFLICT (view_name, topic, partition_number, record_offset) DO UPDATE SET content = excluded.content";

/// False when an event that is to wait no longer does not wait.
pub(super) async fn write<V: View>(
    generation: i32,
    changes: &Changes,
    on: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    if !changes.done.is_empty() {
        let done = sqlx::query(DONE)
            .bind(V::NAME)
            .bind(generation)
            .bind(column(&changes.done, |(partition, _)| partition.topic.name))
            .bind(column(&changes.done, |(partition, _)| partition.number.cast_signed()))
            .bind(column(&changes.done, |(_, offset)| offset.cast_signed()));
        if done.execute(&mut *on).await?.rows_affected() != changes.done.len() as u64 {
            return Ok(false);
        }
    }
    if !changes.park.is_empty() {
        let rows: Vec<ParkedRow> = changes.park.iter().map(ParkedRow::from).collect();
        let park = sqlx::query(PARK)
            .bind(V::NAME)
            .bind(generation)
            .bind(column(&rows, |row| row.key.topic))
            .bind(column(&rows, |row| row.key.partition_number.cast_signed()))
            .bind(column(&rows, |row| row.key.record_key.as_str()))
            .bind(column(&rows, |row| row.record_offset.cast_signed()))
            .bind(column(&rows, |row| row.content.as_str()));
        park.execute(&mut *on).await?;
    }
    set_wanted::<V>(generation, &changes.answered, false, on).await?;
    Ok(true)
}

async fn set_wanted<V: View>(
    generation: i32,
    keys: &[ParkedKey],
    wanted: bool,
    on: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let rows: Vec<KeyRow> = keys.iter().map(KeyRow::from).collect();
    let set = sqlx::query(SET_WANTED)
        .bind(V::NAME)
        .bind(generation)
        .bind(column(&rows, |row| row.topic))
        .bind(column(&rows, |row| row.partition_number.cast_signed()))
        .bind(column(&rows, |row| row.record_key.as_str()))
        .bind(wanted);
    set.execute(on).await.map(drop)
}

/// Where the parked events stand.
pub(super) async fn places<V: View>(
    generation: i32,
    on: impl Executor<'_, Database = Postgres>,
) -> Result<BTreeSet<Place>, sqlx::Error> {
    let rows = sqlx::query(PLACES).bind(V::NAME).bind(generation).fetch_all(on).await?;
    rows.iter().map(read_place).collect()
}

fn read_place(row: &PgRow) -> Result<Place, sqlx::Error> {
    place(row.try_get("topic")?, row.try_get("partition_number")?, row.try_get("record_offset")?).map_err(odd)
}

fn read_key(row: &PgRow) -> Result<ParkedKey, sqlx::Error> {
    KeyRow::read(row.try_get("topic")?, row.try_get("partition_number")?, row.try_get("record_key")?).map_err(odd)
}

fn odd(odd: OddRow) -> sqlx::Error {
    sqlx::Error::Decode(odd.into())
}

impl<V: PostgresView> PostgresStore<V> {
    async fn read_parked(&self) -> Result<Parked, sqlx::Error> {
        let mut parked = Parked::default();
        for row in sqlx::query(KEYS).bind(V::NAME).bind(self.number()).fetch_all(&self.pool).await? {
            let events = row.try_get::<i64, _>("events")?.cast_unsigned();
            parked.keys.insert(read_key(&row)?, Queue { events, wanted: row.try_get("wanted")? });
        }
        for row in sqlx::query(RESOLUTIONS).bind(V::NAME).fetch_all(&self.pool).await? {
            let place = read_place(&row)?;
            parked.resolutions.insert(place, ResolutionRow::read(place, row.try_get("content")?).map_err(odd)?);
        }
        Ok(parked)
    }

    async fn read_events(&self, of: Option<&ParkedKey>, limit: usize) -> Result<Vec<ParkedEvent>, sqlx::Error> {
        let key = of.map(KeyRow::from);
        let rows = sqlx::query(EVENTS)
            .bind(V::NAME)
            .bind(self.number())
            .bind(key.as_ref().map(|key| key.topic))
            .bind(key.as_ref().map(|key| key.partition_number.cast_signed()))
            .bind(key.as_ref().map(|key| key.record_key.as_str()))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let read = |row: &PgRow| {
            ParkedRow::read(read_key(row)?, row.try_get("record_offset")?, row.try_get("content")?).map_err(odd)
        };
        rows.fetch_all(&self.pool).await?.iter().map(read).collect()
    }

    async fn write_wishes(&self, wishes: &Wishes) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let rows: Vec<ResolutionRow> = wishes.resolve.iter().map(ResolutionRow::from).collect();
        let resolve = sqlx::query(RESOLVE)
            .bind(V::NAME)
            .bind(column(&rows, |row| row.topic))
            .bind(column(&rows, |row| row.partition_number.cast_signed()))
            .bind(column(&rows, |row| row.record_offset.cast_signed()))
            .bind(column(&rows, |row| row.content.as_str()));
        resolve.execute(&mut *transaction).await?;
        set_wanted::<V>(self.number(), &wishes.retry, true, &mut transaction).await?;
        sqlx::query("SET LOCAL synchronous_commit = on").execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

impl<V: PostgresView> Parking for PostgresStore<V> {
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
        let query = sqlx::query_scalar(WANTED).bind(V::NAME).bind(self.number());
        query.fetch_one(&self.pool).map(|read| read.map_err(failed::<V>)).boxed()
    }

    fn wish(&self, wishes: Wishes) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.write_wishes(&wishes).await.map_err(failed::<V>) }.boxed()
    }
}

fn failed<V: View>(source: sqlx::Error) -> StoreError {
    StoreError::Parking { view: V::NAME, source: source.into() }
}
