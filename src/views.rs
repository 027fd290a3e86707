//! Starts the projector of each view, in the store that the settings name.

use std::sync::Arc;

use eventlog::EventLog;
use projections::projector::{BATCH_EVENTS, Context, Projector};
use projections::store::{Placed, Store};
use projections::stores::memory::{MemoryStore, MemoryView};
use projections::view::View;
use projections::views::{Activity, OrderDetail, OrderSummary, StockLevel};
use projections::{Progress, Views};
use runtime::config::StoresConfig;
use runtime::shutdown::CancellationToken;
use schemas::Codec;
use tokio::task::JoinHandle;

use crate::Failure;

/// Views that are kept up to date.
pub struct Started {
    pub views: Views,
    pub progress: Progress,
    pub projectors: Vec<JoinHandle<()>>,
    /// Those that are built anew at each start.
    pub in_memory: Vec<&'static str>,
}

/// Starts all projectors.
///
/// # Errors
/// When a store cannot be used.
pub async fn start(
    _stores: &StoresConfig,
    log: Arc<dyn EventLog>,
    codec: Arc<Codec>,
    shutdown: CancellationToken,
) -> Result<Started, Failure> {
    let progress = Progress::default();
    let context = Context { log, codec, progress: progress.clone(), batch_events: BATCH_EVENTS, shutdown };
    let (details, lists) = (MemoryStore::<OrderDetail>::default(), MemoryStore::<OrderSummary>::default());
    let (levels, activities) = (MemoryStore::<StockLevel>::default(), MemoryStore::<Activity>::default());
    let projectors = vec![
        project(&context, &details),
        project(&context, &lists),
        project(&context, &levels),
        project(&context, &activities),
    ];
    let views = Views {
        order_details: Placed::Memory(details),
        order_lists: Placed::Memory(lists),
        stock_levels: Placed::Memory(levels),
        activities: Placed::Memory(activities),
    };
    let in_memory = vec![OrderDetail::NAME, OrderSummary::NAME, StockLevel::NAME, Activity::NAME];
    Ok(Started { views, progress, projectors, in_memory })
}

fn project<V: MemoryView>(context: &Context, store: &MemoryStore<V>) -> JoinHandle<()>
where
    MemoryStore<V>: Store<V>,
{
    Projector::<V, _>::new(context.clone(), store.clone()).spawn()
}
