//! Stores that look at what passes through them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use projections::StoreError;
use projections::generations::Generations;
use projections::parking::Parking;
use projections::store::{Checkpoints, Commit, Kind, Reflects, Store, Visit};
use projections::stores::memory::{MemoryStore, MemoryView};
use projections::view::View;

/// How long each batch took, and how many events there were.
#[derive(Clone)]
pub struct Clock(Arc<Mutex<Histogram<u64>>>);

impl Clock {
    /// Microseconds up to ten minutes.
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self(Arc::new(Mutex::new(Histogram::new_with_bounds(1, 600_000_000, 3)?))))
    }

    /// A batch began then and ends now.
    pub fn record(&self, since: Instant) {
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros.max(1));
    }

    /// Milliseconds that this share of the batches did not exceed.
    pub fn at(&self, quantile: f64) -> f64 {
        let micros = self.0.lock().unwrap_or_else(PoisonError::into_inner).value_at_quantile(quantile);
        #[allow(clippy::cast_precision_loss, reason = "microseconds of a batch fit a double exactly")]
        let micros = micros as f64;
        micros / 1_000.0
    }
}

/// A store whose batches are timed.
#[derive(Clone)]
pub struct Timed<S> {
    pub store: S,
    pub clock: Clock,
}

impl<V: View, S: Store<V>> Store<V> for Timed<S> {
    fn kind(&self) -> Kind {
        Store::<V>::kind(&self.store)
    }

    async fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        Store::<V>::checkpoints(&self.store).await
    }

    async fn open(&self) -> Result<Checkpoints, StoreError> {
        self.store.open().await
    }

    async fn load(&self, keys: &[V::Key]) -> Result<Vec<V>, StoreError> {
        self.store.load(keys).await
    }

    async fn commit(&self, commit: Commit<V>) -> Result<(), StoreError> {
        let started = Instant::now();
        self.store.commit(commit).await?;
        self.clock.record(started);
        Ok(())
    }

    async fn scan(&self, after: Option<&V::Key>, most: usize, visit: Visit<'_, V>) -> Result<Reflects, StoreError> {
        self.store.scan(after, most, visit).await
    }

    fn parking(&self) -> &dyn Parking {
        Store::<V>::parking(&self.store)
    }

    fn generation(&self) -> u32 {
        Store::<V>::generation(&self.store)
    }

    fn numbered(&self, generation: u32) -> Self {
        Self { store: Store::<V>::numbered(&self.store, generation), clock: self.clock.clone() }
    }

    fn generations(&self) -> &dyn Generations {
        Store::<V>::generations(&self.store)
    }
}

/// A store in memory that keeps the batches that it got.
pub struct Recorded<V: MemoryView> {
    store: MemoryStore<V>,
    batches: Arc<Mutex<Vec<Commit<V>>>>,
}

impl<V: MemoryView> Default for Recorded<V> {
    fn default() -> Self {
        Self { store: MemoryStore::default(), batches: Arc::default() }
    }
}

impl<V: MemoryView> Clone for Recorded<V> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), batches: Arc::clone(&self.batches) }
    }
}

impl<V: MemoryView> Recorded<V> {
    /// The batches, in their order.
    pub fn take(&self) -> Vec<Commit<V>> {
        std::mem::take(&mut self.batches.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<V: MemoryView> Store<V> for Recorded<V> {
    fn kind(&self) -> Kind {
        Store::<V>::kind(&self.store)
    }

    async fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        Store::<V>::checkpoints(&self.store).await
    }

    async fn open(&self) -> Result<Checkpoints, StoreError> {
        self.store.open().await
    }

    async fn load(&self, keys: &[V::Key]) -> Result<Vec<V>, StoreError> {
        self.store.load(keys).await
    }

    async fn commit(&self, commit: Commit<V>) -> Result<(), StoreError> {
        self.store.commit(commit.clone()).await?;
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(commit);
        Ok(())
    }

    async fn scan(&self, after: Option<&V::Key>, most: usize, visit: Visit<'_, V>) -> Result<Reflects, StoreError> {
        self.store.scan(after, most, visit).await
    }

    fn parking(&self) -> &dyn Parking {
        Store::<V>::parking(&self.store)
    }

    fn generation(&self) -> u32 {
        Store::<V>::generation(&self.store)
    }

    fn numbered(&self, generation: u32) -> Self {
        Self { store: Store::<V>::numbered(&self.store, generation), batches: Arc::clone(&self.batches) }
    }

    fn generations(&self) -> &dyn Generations {
        Store::<V>::generations(&self.store)
    }
}
