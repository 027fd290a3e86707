//! What a node answers to others.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use commands::Local;
use commands::peers::Trouble;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::wire::{Assigned, Command, Known, Reply};

/// Longest wait for one decision, whatever the caller says.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Every route between nodes. They are for nodes alone: whoever reaches them can decide anything.
pub fn routes(local: Local) -> Router {
    Router::new()
        .route("/commands", post(deliver))
        .route("/commands/{id}", get(lookup))
        .route("/owners", get(owned))
        .with_state(local)
}

/// Serves `routes` on `listener`, HTTP/1.1 and HTTP/2, until `stop`; requests in flight end first.
///
/// # Errors
/// When the operating system refuses.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) -> std::io::Result<()> {
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended before it began");
        }
    });
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn deliver(State(local): State<Local>, Json(command): Json<Command>) -> Json<Reply> {
    let deadline = Instant::now() + Duration::from_millis(command.wait_ms).min(WAIT_MAX);
    let result = match command.forwarded() {
        Some(command) => local.deliver(command, deadline).await,
        None => Err(Trouble::NotOwner),
    };
    Json(Reply::of(result))
}

async fn lookup(State(local): State<Local>, Path(id): Path<Uuid>) -> Json<Known> {
    Json(local.lookup(id).await.into())
}

async fn owned(State(local): State<Local>) -> Json<Vec<Assigned>> {
    Json(local.owned().await.into_iter().map(Assigned::from).collect())
}
