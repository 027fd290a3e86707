//! What is parked, in MySQL.

use std::collections::BTreeSet;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};

use super::{MysqlStore, MysqlView, json};
use crate::parking::{
    Changes, KeyRow, OddRow, Parked, ParkedEvent, ParkedKey, ParkedRow, Parking, Place, Queue, ResolutionRow, Wishes,
    place,
};
use crate::store::StoreError;
use crate::view::View;

const KEYS: &str = "
SELECT topic, partition_number, record_key, count(*) AS events, CAST(max(wanted) AS signed) AS wanted
FROM parked_events WHERE view_name = ? AND generation = ?
GROUP BY topic, partition_number, record_key";

const RESOLUTIONS: &str = "
SELECT topic, partition_number, record_offset, content FROM resolutions WHERE view_name = ?";

const EVENTS: &str = "
SELECT topic, partition_number, record_offset, record_key, content FROM parked_events
WHERE view_name = ? AND generation = ?
ORDER BY topic, partition_number, record_offset LIMIT ?";

const EVENTS_OF: &str = "
SELECT topic, partition_number, record_offset, record_key, content FROM parked_events
WHERE view_name = ? AND generation = ? AND topic = ? AND partition_number = ? AND record_key = ?
ORDER BY record_offset LIMIT ?";

const PLACES: &str = "
SELECT topic, partition_number, record_offset FROM parked_events WHERE view_name = ? AND generation = ?";

const WANTED: &str = "
SELECT CAST(EXISTS (SELECT 1 FROM parked_events WHERE view_name = ? AND generation = ? AND wanted) AS signed)";

/// Event by event: the columns of a table that comes out of JSON are not made for texts of megabytes.
const PARK: &str = "
INSERT INTO parked_events (view_name, generation, topic, partition_number, record_key, record_offset, content)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE content = VALUES(content)";

const DONE: &str = "
DELETE p FROM JSON_TABLE(?, '$[*]' COLUMNS (
    topic            varchar(64) PATH '$.topic',
    partition_number int         PATH '$.partition_number',
    record_offset    bigint      PATH '$.record_offset'
)) AS d STRAIGHT_JOIN parked_events AS p
    ON p.topic = d.topic COLLATE utf8mb4_bin AND p.partition_number = d.partition_number
   AND p.record_offset = d.record_offset
WHERE p.view_name = ? AND p.generation = ?";

const SET_WANTED: &str = "
UPDATE parked_events SET wanted = ?
WHERE view_name = ? AND generation = ? AND topic = ? AND partition_number = ? AND record_key = ?";

const RESOLVE: &str = "
INSERT INTO resolutions (view_name, topic, partition_number, record_offset, content) VALUES (?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE content = VALUES(content)";

#[derive(Serialize)]
struct PlaceRow {
    topic: &'static str,
    partition_number: u32,
    record_offset: u64,
}

/// False when an event that is to wait no longer does not wait.
pub(super) async fn write<V: View>(
    generation: u32,
    changes: &Changes,
    on: &mut MySqlConnection,
) -> Result<bool, sqlx::Error> {
    if !changes.done.is_empty() {
        let row = |(partition, offset): &Place| PlaceRow {
            topic: partition.topic.name,
            partition_number: partition.number,
            record_offset: *offset,
        };
        let rows: Vec<PlaceRow> = changes.done.iter().map(row).collect();
        let done = sqlx::query(DONE).bind(json(&rows)?).bind(V::NAME).bind(generation);
        if done.execute(&mut *on).await?.rows_affected() != changes.done.len() as u64 {
            return Ok(false);
        }
    }
    for row in changes.park.iter().map(ParkedRow::from) {
        let park = sqlx::query(PARK)
            .bind(V::NAME)
            .bind(generation)
            .bind(row.key.topic)
            .bind(row.key.partition_number)
            .bind(row.key.record_key)
            .bind(row.record_offset)
            .bind(row.content);
        park.execute(&mut *on).await?;
    }
    set_wanted::<V>(generation, &changes.answered, false, on).await?;
    Ok(true)
}

async fn set_wanted<V: View>(
    generation: u32,
    keys: &[ParkedKey],
    wanted: bool,
    on: &mut MySqlConnection,
) -> Result<(), sqlx::Error> {
    for row in keys.iter().map(KeyRow::from) {
        let set = sqlx::query(SET_WANTED)
            .bind(wanted)
            .bind(V::NAME)
            .bind(generation)
            .bind(row.topic)
            .bind(row.partition_number)
            .bind(row.record_key);
        set.execute(&mut *on).await?;
    }
    Ok(())
}

/// Where the parked events stand.
pub(super) async fn places<V: View>(generation: u32, on: &mut MySqlConnection) -> Result<BTreeSet<Place>, sqlx::Error> {
    let rows = sqlx::query(PLACES).bind(V::NAME).bind(generation).fetch_all(on).await?;
    rows.iter().map(read_place).collect()
}

fn read_place(row: &MySqlRow) -> Result<Place, sqlx::Error> {
    place(row.try_get("topic")?, row.try_get("partition_number")?, row.try_get("record_offset")?).map_err(odd)
}

fn read_key(row: &MySqlRow) -> Result<ParkedKey, sqlx::Error> {
    KeyRow::read(row.try_get("topic")?, row.try_get("partition_number")?, row.try_get("record_key")?).map_err(odd)
}

fn odd(odd: OddRow) -> sqlx::Error {
    sqlx::Error::Decode(odd.into())
}

impl<V: MysqlView> MysqlStore<V> {
    async fn read_parked(&self) -> Result<Parked, sqlx::Error> {
        let mut parked = Parked::default();
        for row in sqlx::query(KEYS).bind(V::NAME).bind(self.generation).fetch_all(&self.pool).await? {
            let events = row.try_get::<i64, _>("events")?.cast_unsigned();
            parked.keys.insert(read_key(&row)?, Queue { events, wanted: row.try_get::<i64, _>("wanted")? != 0 });
        }
        for row in sqlx::query(RESOLUTIONS).bind(V::NAME).fetch_all(&self.pool).await? {
            let place = read_place(&row)?;
            parked.resolutions.insert(place, ResolutionRow::read(place, row.try_get("content")?).map_err(odd)?);
        }
        Ok(parked)
    }

    async fn read_events(&self, of: Option<&ParkedKey>, limit: usize) -> Result<Vec<ParkedEvent>, sqlx::Error> {
        let events = sqlx::query(if of.is_some() { EVENTS_OF } else { EVENTS }).bind(V::NAME).bind(self.generation);
        let events = match of.map(KeyRow::from) {
            Some(key) => events.bind(key.topic).bind(key.partition_number).bind(key.record_key),
            None => events,
        };
        let read = |row: &MySqlRow| {
            ParkedRow::read(read_key(row)?, row.try_get("record_offset")?, row.try_get("content")?).map_err(odd)
        };
        let events = events.bind(u64::try_from(limit).unwrap_or(u64::MAX));
        events.fetch_all(&self.pool).await?.iter().map(read).collect()
    }

    async fn write_wishes(&self, wishes: &Wishes) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        for row in wishes.resolve.iter().map(ResolutionRow::from) {
            let resolve = sqlx::query(RESOLVE)
                .bind(V::NAME)
                .bind(row.topic)
                .bind(row.partition_number)
                .bind(row.record_offset)
                .bind(row.content);
            resolve.execute(&mut *transaction).await?;
        }
        set_wanted::<V>(self.generation, &wishes.retry, true, &mut transaction).await?;
        transaction.commit().await
    }
}

impl<V: MysqlView> Parking for MysqlStore<V> {
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
        let query = sqlx::query_scalar::<_, i64>(WANTED).bind(V::NAME).bind(self.generation);
        query.fetch_one(&self.pool).map(|read| read.map(|some| some != 0).map_err(failed::<V>)).boxed()
    }

    fn wish(&self, wishes: Wishes) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.write_wishes(&wishes).await.map_err(failed::<V>) }.boxed()
    }
}

fn failed<V: View>(source: sqlx::Error) -> StoreError {
    StoreError::Parking { view: V::NAME, source: source.into() }
}
