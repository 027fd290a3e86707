//! A peer of `cargo xtask bench replay`: `disintegrate` 4 with `disintegrate-postgres`. `--replay N` puts N events, each an
//! order of its own with the content of Lonja's bench, into its event table by one statement, and a `PgEventListener` that has
//! seen none of them yet fills `order_view`, with `synchronous_commit` off as Lonja has it for views.
//!
//! Its listeners get one event at a time, and their place is kept once they have seen all there are; so a row is written by a
//! statement and a transaction of its own, as in its book.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use clap::Parser;
use disintegrate::serde::json::Json;
use disintegrate::{Event, EventListener, PersistedEvent, StreamQuery, query};
use disintegrate_postgres::{
    PgEventId, PgEventListener, PgEventListenerConfig, PgEventListenerError, PgEventStore, RetryAction,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// disintegrate, replaying into one view.
#[derive(Parser)]
struct Args {
    /// An empty database of its own
    #[arg(long)]
    postgres: String,
    /// So many events
    #[arg(long)]
    replay: i64,
}

/// One position, prices in minor units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
    unit_price: i64,
}

/// The only event, with the same content as Lonja's `OrderPlaced`.
#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
enum OrderEvent {
    OrderPlaced {
        #[id]
        order_id: String,
        customer_id: String,
        currency: String,
        lines: Vec<Line>,
        total: i64,
    },
}

/// What its queries need. Its own migration is not for PostgreSQL 15, which does not read its `0xFFFFFFFF`. Nothing is appended
/// while it replays, so its epoch, up to which no append is under way, is the last event.
const EVENTS: &str = "
CREATE TABLE event (
    event_id    bigserial PRIMARY KEY,
    event_type  varchar(255),
    order_id    text,
    payload     bytea,
    inserted_at timestamp DEFAULT now()
);
CREATE INDEX event_by_type ON event (event_type);
CREATE INDEX event_by_order ON event (order_id) WHERE order_id IS NOT NULL;
CREATE FUNCTION event_store_current_epoch() RETURNS bigint LANGUAGE sql AS 'SELECT COALESCE(MAX(event_id), 0) FROM event'";

const FILL: &str = r#"
INSERT INTO event (event_type, order_id, payload)
SELECT 'OrderPlaced', id, convert_to(json_build_object('OrderPlaced', json_build_object(
           'order_id', id,
           'customer_id', 'customer-' || lpad(number::text, 7, '0'), 'currency', 'EUR', 'lines', json_build_array(
               json_build_object('sku', 'tea-assam-250', 'quantity', 2, 'unit_price', 749),
               json_build_object('sku', 'cup-stoneware-03', 'quantity', 1, 'unit_price', 1290),
               json_build_object('sku', 'honey-heather-500', 'quantity', 3, 'unit_price', 885)),
           'total', 5443))::text, 'UTF8')
FROM (SELECT number, gen_random_uuid()::text AS id FROM generate_series(1, $1) AS number) AS orders"#;

const TABLE: &str = "
CREATE TABLE order_view (
    id          text   NOT NULL PRIMARY KEY,
    status      text   NOT NULL,
    customer_id text   NOT NULL,
    currency    text   NOT NULL,
    lines       jsonb  NOT NULL,
    total       bigint NOT NULL
)";

/// An event may come twice.
const INSERT: &str = "
INSERT INTO order_view (id, status, customer_id, currency, lines, total)
VALUES ($1, 'placed', $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";

struct OrderView {
    query: StreamQuery<PgEventId, OrderEvent>,
    pool: PgPool,
}

#[async_trait]
impl EventListener<PgEventId, OrderEvent> for OrderView {
    type Error = sqlx::Error;

    fn id(&self) -> &'static str {
        "order_view"
    }

    fn query(&self) -> &StreamQuery<PgEventId, OrderEvent> {
        &self.query
    }

    async fn handle(&self, event: PersistedEvent<PgEventId, OrderEvent>) -> Result<(), sqlx::Error> {
        let OrderEvent::OrderPlaced { order_id, customer_id, currency, lines, total } = event.into_inner();
        let insert = sqlx::query(INSERT).bind(order_id).bind(customer_id).bind(currency);
        insert.bind(sqlx::types::Json(lines)).bind(total).execute(&self.pool).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let options = args.postgres.parse::<PgConnectOptions>()?.options([("synchronous_commit", "off")]);
    let pool = PgPoolOptions::new().connect_with(options).await?;
    sqlx::raw_sql(EVENTS).execute(&pool).await?;
    sqlx::raw_sql(TABLE).execute(&pool).await?;
    sqlx::query(FILL).bind(args.replay).execute(&pool).await?;

    let config = PgEventListenerConfig::poller(Duration::from_millis(100)).with_retry(
        |error: PgEventListenerError<sqlx::Error>, _| -> RetryAction {
            eprintln!("an event could not be replayed: {error:?}");
            std::process::exit(1);
        },
    );
    let store = PgEventStore::<OrderEvent, _>::new_uninitialized(pool.clone(), Json::<OrderEvent>::default());
    let view = OrderView { query: query!(OrderEvent), pool: pool.clone() };
    let started = Instant::now();
    let seen = pool.clone();
    PgEventListener::builder(store)
        .register_listener(view, config)
        .start_with_shutdown(async move { until_all_are_seen(&seen, args.replay).await })
        .await?;
    let seconds = started.elapsed().as_secs_f64();

    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM order_view").fetch_one(&pool).await?;
    if rows != args.replay {
        return Err(format!("{rows} rows of {} events", args.replay).into());
    }
    println!("{}", serde_json::json!({ "seconds": seconds }));
    Ok(())
}

/// The table of its listeners is made when it starts.
async fn until_all_are_seen(pool: &PgPool, events: i64) {
    const SEEN: &str = "SELECT last_processed_event_id FROM event_listener WHERE id = 'order_view'";
    while !matches!(sqlx::query_scalar::<_, i64>(SEEN).fetch_optional(pool).await, Ok(Some(seen)) if seen >= events) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
