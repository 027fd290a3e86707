//! The views, their stores and their projectors, put together.

use std::sync::Arc;

use eventlog::EventLog;
use eventlog::shared::{SharedLog, Tap};
use futures::future::join_all;
use schemas::Codec;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::generations::{Scope, Supervisor};
use crate::lag::{self, Lags};
use crate::metrics;
use crate::pace::Pace;
use crate::progress::Progress;
use crate::projector::{BATCH_EVENTS, Context};
use crate::store::{Kind, Store, StoreError};
use crate::stores::{Stores, StoresConfig};
use crate::view::View;
use crate::views::{self, ToEach, Views};

/// Running projections.
pub struct Projections {
    /// Finders.
    pub views: Views,
    /// How far each view has come.
    pub progress: Progress,
    /// How far each is behind the log.
    pub lags: Lags,
    shutdown: CancellationToken,
    projectors: Vec<JoinHandle<()>>,
    lag: JoinHandle<()>,
}

/// Which views a process folds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folds {
    /// All of them.
    All,
    /// Those in stores of these kinds; it does not read the others either.
    Only(Vec<Kind>),
    /// Those that live in its memory. Others fold the rest, and it follows how far they have come.
    Memory,
}

/// Starts a projector for each view that this process `folds`; those that are near the end of the log share one reader. A
/// view whose store is not configured lives in memory; what owners of this process tell `tap` is not fetched; a store that does not answer delays its own views alone. The
/// projectors end when `shutdown` is cancelled.
///
/// # Errors
/// When the address of a store is not one.
pub async fn start(
    config: &StoresConfig,
    log: Arc<dyn EventLog>,
    codec: Arc<Codec>,
    folds: Folds,
    tap: Tap,
    shutdown: CancellationToken,
) -> Result<Projections, StoreError> {
    metrics::describe();
    let placed = Views::among(&Stores::new(config).await?);
    let progress = Progress::default();
    let shutdown = shutdown.child_token();
    let context = Context {
        log: Arc::new(SharedLog::new(Arc::clone(&log), views::decoder(Arc::clone(&codec)), tap)),
        codec,
        progress: progress.clone(),
        batch_events: BATCH_EVENTS,
        pace: Pace::Unbounded,
        scope: Scope::default(),
        shutdown: shutdown.clone(),
    };
    let projectors = placed.each(&Start { context, folds }).await.into_iter().flatten().collect();
    let lags = Lags::default();
    let lag = tokio::spawn(lag::measure(log, progress.clone(), lags.clone()));
    Ok(Projections { views: placed, progress, lags, shutdown, projectors, lag })
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

struct Start {
    context: Context,
    folds: Folds,
}

impl ToEach for Start {
    type Outcome = Option<JoinHandle<()>>;

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> Option<JoinHandle<()>> {
        let (context, store) = (self.context.clone(), store.clone());
        let folds = match &self.folds {
            Folds::All => true,
            Folds::Only(kinds) if kinds.contains(&store.kind()) => true,
            Folds::Only(_) => return None,
            Folds::Memory => store.kind() == Kind::Memory,
        };
        Some(Supervisor::<V, S>::new(context, store, folds).spawn())
    }
}
