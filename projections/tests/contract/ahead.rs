//! Far behind, a projector folds a batch while its store commits the one before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lonja_projections::StoreError;
use lonja_projections::generations::Generations;
use lonja_projections::parking::Parking;
use lonja_projections::projector::Projector;
use lonja_projections::store::{Checkpoints, Commit, Kind, Reflects, Store, Visit};
use lonja_projections::stores::memory::MemoryStore;
use lonja_projections::view::View;
use lonja_projections::views::StockLevel;
use schemas::topics::STOCK;
use tokio::time::{Instant, sleep};

use crate::folding::seed;
use crate::history::History;
use crate::running::{PATIENCE, context};

/// Every batch needs rows of the few SKUs, which others left: those of the batch before are not loaded, and others while it is
/// committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_folded_on_what_the_one_before_leaves() {
    let mut history = History::new(seed());
    history.go_on(3_000);
    let slow = Slow::default();
    fold(&history, slow.clone(), 20).await;
    let [waits, commits] = [&slow.waits, &slow.commits].map(|count| count.load(Ordering::Relaxed));
    assert!(commits >= 20 && waits <= commits / 2, "{waits} of {commits} commits waited for rows");
    let whole = MemoryStore::default();
    fold(&history, whole.clone(), usize::MAX).await;
    let [slow, whole] = [slow.store.snapshot().await.unwrap(), whole.snapshot().await.unwrap()];
    assert_eq!(slow.rows, whole.rows);
    assert_eq!(slow.reflects.checkpoints, whole.reflects.checkpoints);
}

async fn fold<S: Store<StockLevel>>(history: &History, store: S, batch_events: usize) {
    let context = context(history, batch_events);
    let (progress, shutdown) = (context.progress.clone(), context.shutdown.clone());
    let running = Projector::new(context, store).spawn();
    let ends = history.log.ends().into_iter().filter(|(partition, _)| partition.topic == &STOCK);
    let last: Vec<_> = ends.map(|(partition, end)| (partition, end - 1)).collect();
    progress.wait_for(StockLevel::NAME, &last, Instant::now() + PATIENCE).await.unwrap();
    shutdown.cancel();
    running.await.unwrap();
}

/// Takes its time for a commit, and counts.
#[derive(Clone, Default)]
struct Slow {
    store: MemoryStore<StockLevel>,
    committing: Arc<AtomicBool>,
    commits: Arc<AtomicUsize>,
    /// Loads while nothing was committed.
    waits: Arc<AtomicUsize>,
}

impl Store<StockLevel> for Slow {
    fn kind(&self) -> Kind {
        self.store.kind()
    }

    async fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        self.store.checkpoints().await
    }

    async fn open(&self) -> Result<Checkpoints, StoreError> {
        self.store.open().await
    }

    async fn load(&self, keys: &[<StockLevel as View>::Key]) -> Result<Vec<StockLevel>, StoreError> {
        self.waits.fetch_add(usize::from(!self.committing.load(Ordering::Relaxed)), Ordering::Relaxed);
        self.store.load(keys).await
    }

    async fn commit(&self, commit: Commit<StockLevel>) -> Result<(), StoreError> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.committing.store(true, Ordering::Relaxed);
        sleep(Duration::from_millis(10)).await;
        self.committing.store(false, Ordering::Relaxed);
        self.store.commit(commit).await
    }

    async fn scan(
        &self,
        after: Option<&<StockLevel as View>::Key>,
        most: usize,
        visit: Visit<'_, StockLevel>,
    ) -> Result<Reflects, StoreError> {
        self.store.scan(after, most, visit).await
    }

    fn parking(&self) -> &dyn Parking {
        self.store.parking()
    }

    fn generation(&self) -> u32 {
        self.store.generation()
    }

    fn numbered(&self, generation: u32) -> Self {
        Self { store: self.store.numbered(generation), ..self.clone() }
    }

    fn generations(&self) -> &dyn Generations {
        self.store.generations()
    }
}
