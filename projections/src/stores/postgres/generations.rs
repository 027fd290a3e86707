//! Generations, in PostgreSQL.

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, Executor, Row};

use super::{PostgresStore, PostgresView};
use crate::generations::{Generation, Generations, Notes, listed, next_number};
use crate::store::StoreError;
use crate::stores::{notes_of, notes_text};
use crate::view::View;

const LIST: &str = "SELECT generation, notes FROM generations WHERE view_name = $1";
const LIVE: &str = "SELECT generation FROM live_generations WHERE view_name = $1";
const NOTE: &str = "
INSERT INTO generations (view_name, generation, notes) VALUES ($1, $2, $3)
ON CONFLICT (view_name, generation) DO UPDATE SET notes = excluded.notes";
const POINT: &str = "
INSERT INTO live_generations (view_name, generation) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const PROMOTE: &str = "
UPDATE live_generations SET generation = $3
WHERE view_name = $1 AND generation = $2 AND NOT EXISTS (
    SELECT FROM checkpoints AS a LEFT JOIN checkpoints AS b
        ON b.view_name = a.view_name AND b.generation = $3
       AND b.topic = a.topic AND b.partition_number = a.partition_number
    WHERE a.view_name = $1 AND a.generation = $2 AND a.next_offset > coalesce(b.next_offset, 0)
)";

impl<V: PostgresView> PostgresStore<V> {
    async fn list_generations(&self) -> Result<Vec<Generation>, sqlx::Error> {
        let live: Option<i32> = sqlx::query_scalar(LIVE).bind(V::NAME).fetch_optional(&self.pool).await?;
        let mut noted = Vec::new();
        for row in sqlx::query(LIST).bind(V::NAME).fetch_all(&self.pool).await? {
            let notes = notes_of(row.try_get("notes")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
            noted.push((row.try_get::<i32, _>("generation")?.cast_unsigned(), notes));
        }
        Ok(listed(V::GENERATION, live.map(i32::cast_unsigned), noted))
    }

    async fn create_generation(&self, notes: &Notes) -> Result<u32, sqlx::Error> {
        let number = next_number(&self.list_generations().await?);
        let mut transaction = self.pool.begin().await?;
        // Two that meet here get one number, of which the table exists for the second: it fails and may try again.
        let create = format!("CREATE TABLE {} (LIKE {} INCLUDING ALL)", V::table(number), V::table(V::GENERATION));
        transaction.execute(AssertSqlSafe(create)).await?;
        sqlx::query(POINT).bind(V::NAME).bind(V::GENERATION.cast_signed()).execute(&mut *transaction).await?;
        let note = sqlx::query(NOTE).bind(V::NAME).bind(number.cast_signed()).bind(notes_text(notes));
        note.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(number)
    }

    async fn clear_generation(&self, number: u32) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        for table in ["checkpoints", "parked_events"] {
            let delete = format!("DELETE FROM {table} WHERE view_name = $1 AND generation = $2");
            let delete = sqlx::query(AssertSqlSafe(delete)).bind(V::NAME).bind(number.cast_signed());
            delete.execute(&mut *transaction).await?;
        }
        // The first one's table is what others are made like.
        let table = V::table(number);
        let clear = match number == V::GENERATION {
            true => format!("TRUNCATE {table}"),
            false => format!("DROP TABLE IF EXISTS {table}"),
        };
        transaction.execute(AssertSqlSafe(clear)).await?;
        transaction.commit().await
    }
}

impl<V: PostgresView> Generations for PostgresStore<V> {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Generation>, StoreError>> {
        self.list_generations().map(|read| read.map_err(failed::<V>)).boxed()
    }

    fn create(&self, notes: Notes) -> BoxFuture<'_, Result<u32, StoreError>> {
        async move { self.create_generation(&notes).await.map_err(failed::<V>) }.boxed()
    }

    fn note(&self, number: u32, notes: Notes) -> BoxFuture<'_, Result<(), StoreError>> {
        let note = sqlx::query(NOTE).bind(V::NAME).bind(number.cast_signed()).bind(notes_text(&notes));
        note.execute(&self.pool).map(|done| done.map(drop).map_err(failed::<V>)).boxed()
    }

    fn promote(&self, from: u32, to: u32) -> BoxFuture<'_, Result<bool, StoreError>> {
        let promote = sqlx::query(PROMOTE).bind(V::NAME).bind(from.cast_signed()).bind(to.cast_signed());
        let done = promote.execute(&self.pool);
        done.map(|done| done.map(|done| done.rows_affected() == 1).map_err(failed::<V>)).boxed()
    }

    fn clear(&self, number: u32) -> BoxFuture<'_, Result<(), StoreError>> {
        self.clear_generation(number).map(|done| done.map_err(failed::<V>)).boxed()
    }
}

fn failed<V: View>(source: sqlx::Error) -> StoreError {
    StoreError::Generations { view: V::NAME, source: source.into() }
}
