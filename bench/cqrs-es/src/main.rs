//! The peer of `cargo xtask bench commands`: what a Rust user would pick today for an event-sourced service, `cqrs-es` 0.5
//! with `postgres-es` 0.5, axum in front, and one view (`order_view`).
//!
//! Chosen in its favour where there was a choice:
//! - The plain event store (`postgres_cqrs`), as in its book; snapshots or an aggregate store would only add writes to an
//!   order that has one event.
//! - Its view by its own `GenericQuery` over `PostgresViewRepository`, updated within the request as the framework does it:
//!   one SELECT and one INSERT; a failing view ends the process instead of being ignored.
//! - A connection pool of 32 instead of its helper's 10 (`--pool`): requests do not queue for the helper's sake.
//! - Tables exactly as in its `db/init.sql`, PostgreSQL as it is configured by the stack (an acknowledged commit is on disk,
//!   as with Lonja's embedded log; Kafka acknowledges from the page cache).
//! - It does less than Lonja: no idempotency keys, no refusal records, no duplicate or unknown fields check, no consistency token.

mod order;
mod replay;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use cqrs_es::persist::{GenericQuery, ViewRepository};
use order::{Line, Order, OrderCommand, OrderView};
use postgres_es::{PostgresCqrs, PostgresViewRepository, postgres_cqrs};
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// cqrs-es behind the same route as Lonja's `POST /v1/orders`.
#[derive(Parser)]
struct Args {
    /// Where to serve HTTP
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// An empty database of its own
    #[arg(long)]
    postgres: String,
    /// Connections to the database
    #[arg(long, default_value_t = 32)]
    pool: u32,
    /// Instead of serving: replay so many events
    #[arg(long)]
    replay: Option<i64>,
}

type Views = PostgresViewRepository<OrderView, Order>;

struct App {
    cqrs: PostgresCqrs<Order>,
    views: Arc<Views>,
}

/// `db/init.sql` of postgres-es, with the view's name.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS events (
    aggregate_type text                         NOT NULL,
    aggregate_id   text                         NOT NULL,
    sequence       bigint CHECK (sequence >= 0) NOT NULL,
    event_type     text                         NOT NULL,
    event_version  text                         NOT NULL,
    payload        json                         NOT NULL,
    metadata       json                         NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);
CREATE TABLE IF NOT EXISTS order_view (
    view_id text                        NOT NULL,
    version bigint CHECK (version >= 0) NOT NULL,
    payload json                        NOT NULL,
    PRIMARY KEY (view_id)
);";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut options: PgConnectOptions = args.postgres.parse()?;
    if args.replay.is_some() {
        options = options.options([("synchronous_commit", "off")]);
    }
    let pool = PgPoolOptions::new().max_connections(args.pool).connect_with(options).await?;
    sqlx::raw_sql(TABLES).execute(&pool).await?;
    if let Some(events) = args.replay {
        return replay::run(pool, events).await;
    }
    let views = Arc::new(Views::new("order_view", pool.clone()));
    let mut query = GenericQuery::<Views, OrderView, Order>::new(Arc::clone(&views));
    query.use_error_handler(Box::new(|error| {
        eprintln!("the view could not be written: {error}");
        std::process::exit(1);
    }));
    let app = Arc::new(App { cqrs: postgres_cqrs(pool, vec![Box::new(query)], ()), views });
    let router = Router::new()
        .route("/v1/orders", post(post_order))
        .route("/v1/orders/{id}", get(get_order))
        .route("/livez", get(|| async { "ok" }))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind(args.listen).await?;
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), router).await?;
    Ok(())
}

#[derive(Deserialize)]
struct PlaceOrder {
    customer_id: String,
    currency: String,
    lines: Vec<Line>,
}

async fn post_order(State(app): State<Arc<App>>, Json(order): Json<PlaceOrder>) -> Response {
    let PlaceOrder { customer_id, currency, lines } = order;
    let id = uuid::Uuid::new_v4().to_string();
    match app.cqrs.execute(&id, OrderCommand::Place { customer_id, currency, lines }).await {
        Ok(()) => {
            let location = [(header::LOCATION, format!("/v1/orders/{id}"))];
            (StatusCode::CREATED, location, Json(serde_json::json!({ "id": id, "version": 1, "status": "placed" })))
                .into_response()
        }
        Err(cqrs_es::AggregateError::UserError(refusal)) => {
            (StatusCode::UNPROCESSABLE_ENTITY, refusal.to_string()).into_response()
        }
        Err(error) => {
            eprintln!("an order failed: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn get_order(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    match app.views.load(&id).await {
        Ok(Some(view)) => Json(view).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            eprintln!("reading the view failed: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
