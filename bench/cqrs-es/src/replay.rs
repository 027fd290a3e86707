//! `--replay N`: the peer of `cargo xtask bench replay`. N events, each an order of its own with the content of Lonja's
//! bench, are put into the event table by one statement, and then replayed into an empty `order_view` by the framework's own
//! `QueryReplay` and `GenericQuery`, with `synchronous_commit` off as Lonja has it for views.

use std::sync::Arc;
use std::time::Instant;

use cqrs_es::persist::{GenericQuery, QueryReplay};
use postgres_es::PostgresEventRepository;
use sqlx::PgPool;

use crate::Views;
use crate::order::{Order, OrderView};

const FILL: &str = r#"
INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
SELECT 'order', gen_random_uuid()::text, 1, 'OrderPlaced', '1',
       json_build_object('Placed', json_build_object(
           'customer_id', 'customer-' || lpad(number::text, 7, '0'), 'currency', 'EUR', 'lines', json_build_array(
               json_build_object('sku', 'tea-assam-250', 'quantity', 2, 'unit_price', 749),
               json_build_object('sku', 'cup-stoneware-03', 'quantity', 1, 'unit_price', 1290),
               json_build_object('sku', 'honey-heather-500', 'quantity', 3, 'unit_price', 885)),
           'total', 5443)),
       '{}'::json
FROM generate_series(1, $1) AS number"#;

/// Fills, replays, and prints how many seconds the replay took, as JSON.
pub async fn run(pool: PgPool, events: i64) -> Result<(), Box<dyn std::error::Error>> {
    sqlx::query(FILL).bind(events).execute(&pool).await?;
    let views = Arc::new(Views::new("order_view", pool.clone()));
    let query = GenericQuery::<Views, OrderView, Order>::new(views);
    let mut replay = QueryReplay::<_, _, Order>::new(PostgresEventRepository::new(pool.clone()), query);
    replay.use_error_handler(Box::new(|error| {
        eprintln!("an event could not be replayed: {error}");
        std::process::exit(1);
    }));
    let started = Instant::now();
    replay.replay_all().await?;
    let seconds = started.elapsed().as_secs_f64();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM order_view").fetch_one(&pool).await?;
    if rows != events {
        return Err(format!("{rows} rows of {events} events").into());
    }
    println!("{}", serde_json::json!({ "seconds": seconds }));
    Ok(())
}
