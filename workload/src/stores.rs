//! What the stores do hold, asked in their own languages and not through the projections' adapters.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Map, Value};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::{MySqlPool, PgPool};

use crate::stack::Stack;
use crate::tables::{ACTIVITY_FEED, ORDER_DETAIL, ORDER_LIST, STOCK_LEVEL, Table, Tables, VIEWS};

/// The generation of a view that readers see, unless its store has a pointer to another.
fn first(view: &str) -> i32 {
    if view == ACTIVITY_FEED { 2 } else { 1 }
}

/// Database where the address of MongoDB names none.
const MONGO_DATABASE: &str = "lonja";

/// Position of the next record that a view folds, by view, topic and partition.
pub type Positions = BTreeMap<(String, String, u32), u64>;

/// Connections to the three stores.
pub struct Stores {
    postgres: PgPool,
    mysql: MySqlPool,
    mongo: mongodb::Database,
}

impl Stores {
    /// Connects.
    ///
    /// # Errors
    /// When an address is missing or a store does not answer.
    pub async fn connect(stack: &Stack) -> Result<Self> {
        let postgres = PgPoolOptions::new().max_connections(2).connect(stack.postgres()?).await;
        let mysql = MySqlPoolOptions::new().max_connections(2).connect(stack.mysql()?).await;
        let mongo = mongodb::Client::with_uri_str(stack.mongo()?).await.context("connecting to MongoDB")?;
        Ok(Self {
            postgres: postgres.context("connecting to PostgreSQL")?,
            mysql: mysql.context("connecting to MySQL")?,
            mongo: mongo.default_database().unwrap_or_else(|| mongo.database(MONGO_DATABASE)),
        })
    }

    /// Every row of every view.
    ///
    /// # Errors
    /// When a store does not answer or a row cannot be read.
    pub async fn tables(&self) -> Result<Tables> {
        Ok(Tables::from([
            (ORDER_DETAIL, self.in_postgres(ORDER_DETAIL).await.context("reading order_detail")?),
            (ORDER_LIST, self.in_postgres(ORDER_LIST).await.context("reading order_list")?),
            (STOCK_LEVEL, self.stock_levels().await.context("reading stock_level")?),
            (ACTIVITY_FEED, self.activities().await.context("reading activity_feed")?),
        ]))
    }

    /// Every checkpoint of the generation of every view that readers see.
    ///
    /// # Errors
    /// When a store does not answer.
    pub async fn positions(&self) -> Result<Positions> {
        let sql = "SELECT view_name, generation, topic, partition_number, next_offset FROM checkpoints";
        let mut rows: Vec<(String, i32, String, i32, i64)> =
            sqlx::query_as(sql).fetch_all(&self.postgres).await.context("reading the checkpoints in PostgreSQL")?;
        let in_mysql: Vec<(String, i32, String, i32, i64)> =
            sqlx::query_as(sql).fetch_all(&self.mysql).await.context("reading the checkpoints in MySQL")?;
        rows.extend(in_mysql);
        let found = self.mongo.collection::<Document>("checkpoints").find(doc! {}).await;
        let mut found = found.context("reading the checkpoints in MongoDB")?;
        while let Some(document) = found.try_next().await.context("reading the checkpoints in MongoDB")? {
            let number = |field| i32::try_from(document.get_i64(field)?).context("a number");
            let (view, topic) = (document.get_str("view")?.to_owned(), document.get_str("topic")?.to_owned());
            rows.push((view, number("generation")?, topic, number("partition")?, document.get_i64("next_offset")?));
        }
        let live = self.live().await?;
        let seen = |(view, generation, ..): &(String, i32, String, i32, i64)| {
            *generation == live.get(view).copied().unwrap_or_else(|| first(view))
        };
        let position = |(view, _, topic, partition, next)| {
            Ok(((view, topic, u32::try_from(partition)?), u64::try_from(next).context("a position below 0")?))
        };
        rows.into_iter().filter(seen).map(position).collect()
    }

    /// Where the pointers of the stores lead.
    async fn live(&self) -> Result<BTreeMap<String, i32>> {
        let sql = "SELECT view_name, generation FROM live_generations";
        let mut live: Vec<(String, i32)> = sqlx::query_as(sql).fetch_all(&self.postgres).await?;
        let in_mysql: Vec<(String, i32)> = sqlx::query_as(sql).fetch_all(&self.mysql).await?;
        live.extend(in_mysql);
        let mut found = self.mongo.collection::<Document>("live_generations").find(doc! {}).await?;
        while let Some(document) = found.try_next().await? {
            live.push((document.get_str("_id")?.to_owned(), i32::try_from(document.get_i64("generation")?)?));
        }
        Ok(live.into_iter().collect())
    }

    /// What the table or collection of `view` is called that readers see.
    async fn table(&self, view: &str) -> Result<String> {
        let live = self.live().await.context("reading which generations are live")?;
        Ok(format!("{view}_g{}", live.get(view).copied().unwrap_or_else(|| first(view))))
    }

    /// Waits until every view has folded every partition up to `ends` (by topic and partition).
    ///
    /// # Errors
    /// When that takes longer than `limit`: with the views that lag.
    pub async fn caught_up(&self, ends: &BTreeMap<(String, u32), u64>, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let lagging = lagging(&self.positions().await?, ends);
            if lagging.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("after {limit:?} views still lag the log: {}", lagging.join(", "));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn in_postgres(&self, view: &str) -> Result<Table> {
        let sql = format!("SELECT id::text, to_jsonb(t) FROM {} AS t", self.table(view).await?);
        let rows: Vec<(String, Value)> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&self.postgres).await?;
        Ok(rows.into_iter().collect())
    }

    async fn stock_levels(&self) -> Result<Table> {
        let sql = format!(
            "SELECT sku, CAST(JSON_OBJECT('sku', sku, 'on_hand', on_hand, 'reserved', reserved, 'available', available, \
             'version', version) AS CHAR) FROM {}",
            self.table(STOCK_LEVEL).await?
        );
        let rows: Vec<(String, String)> = sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(&self.mysql).await?;
        rows.into_iter().map(|(sku, row)| Ok((sku, serde_json::from_str(&row)?))).collect()
    }

    async fn activities(&self) -> Result<Table> {
        let collection = self.mongo.collection::<Document>(&self.table(ACTIVITY_FEED).await?);
        let mut found = collection.find(doc! {}).await?;
        let mut table = Table::new();
        while let Some(mut document) = found.try_next().await? {
            let Some(Bson::String(place)) = document.remove("_id") else { bail!("_id of {document} is no text") };
            table.insert(place, Value::Object(plain(document)?));
        }
        Ok(table)
    }
}

/// A document as the fold writes it: numbers, texts, and times as milliseconds.
fn plain(document: Document) -> Result<Map<String, Value>> {
    let value = |value: Bson| {
        Ok(match value {
            Bson::String(text) => text.into(),
            Bson::Binary(id) => id.to_uuid().context("reading an id")?.to_string().into(),
            Bson::Int32(number) => number.into(),
            Bson::Int64(number) => number.into(),
            Bson::DateTime(time) => time.timestamp_millis().into(),
            Bson::Document(inner) => Value::Object(plain(inner)?),
            other => bail!("a field of the feed is {other}"),
        })
    };
    document.into_iter().map(|(name, bson)| Ok((name, value(bson)?))).collect()
}

/// Views that have not folded a partition to its end, with how far they have come.
fn lagging(positions: &Positions, ends: &BTreeMap<(String, u32), u64>) -> Vec<String> {
    let mut lagging = Vec::new();
    for (view, topics) in VIEWS {
        for ((topic, partition), end) in ends.iter().filter(|((topic, _), _)| topics.contains(&topic.as_str())) {
            let next = positions.get(&(view.to_owned(), topic.clone(), *partition)).copied().unwrap_or(0);
            if next < *end {
                lagging.push(format!("{view} at {topic}/{partition}@{next} of {end}"));
            }
        }
    }
    lagging
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_without_a_checkpoint_lags() {
        let ends = BTreeMap::from([(("stock.events".to_owned(), 0), 5)]);
        let at = |view: &str, next| ((view.to_owned(), "stock.events".to_owned(), 0), next);
        let positions = Positions::from([at(STOCK_LEVEL, 5)]);
        assert_eq!(lagging(&positions, &ends), ["activity_feed at stock.events/0@0 of 5"]);
        let positions = Positions::from([at(STOCK_LEVEL, 5), at(ACTIVITY_FEED, 5)]);
        assert!(lagging(&positions, &ends).is_empty());
    }
}
