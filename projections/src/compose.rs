//! The views, their stores and their projectors, put together.

use std::sync::Arc;

use eventlog::EventLog;
use eventlog::shared::SharedLog;
use futures::future::join_all;
use schemas::Codec;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::lag;
use crate::metrics;
use crate::progress::Progress;
use crate::projector::{BATCH_EVENTS, Context, Projector};
use crate::store::{Store, StoreError};
use crate::stores::{Stores, StoresConfig};
use crate::view::View;
use crate::views::{ToEach, Views};

/// Running projections.
pub struct Projections {
    /// Finders.
    pub views: Views,
    /// How far each view has come.
    pub progress: Progress,
    shutdown: CancellationToken,
    projectors: Vec<JoinHandle<()>>,
    lag: JoinHandle<()>,
}

/// Starts a projector for each view; those that are near the end of the log share one reader. A view whose store is not configured lives in memory; a store that does not answer
/// delays its own views alone. The projectors end when `shutdown` is cancelled.
///
/// # Errors
/// When the address of a store is not one.
pub async fn start(
    config: &StoresConfig,
    log: Arc<dyn EventLog>,
    codec: Arc<Codec>,
    shutdown: CancellationToken,
) -> Result<Projections, StoreError> {
    metrics::describe();
    let views = Views::among(&Stores::new(config).await?);
    let progress = Progress::default();
    let shutdown = shutdown.child_token();
    let context = Context {
        log: Arc::new(SharedLog::new(Arc::clone(&log))),
        codec,
        progress: progress.clone(),
        batch_events: BATCH_EVENTS,
        shutdown: shutdown.clone(),
    };
    let projectors = views.each(&Start(context)).await;
    let lag = tokio::spawn(lag::measure(log, progress.clone()));
    Ok(Projections { views, progress, shutdown, projectors, lag })
}

impl Projections {
    /// Ends the projectors, each after the batch in hand, and waits for them.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.lag.abort();
        // Neither task fails: a projector's panic is caught and reported where it is spawned.
        join_all(self.projectors).await;
    }
}

struct Start(Context);

impl ToEach for Start {
    type Outcome = JoinHandle<()>;

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> JoinHandle<()> {
        Projector::<V, S>::new(self.0.clone(), store.clone()).spawn()
    }
}
