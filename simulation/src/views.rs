//! One view, folded by two of the real projectors at once into one store in memory that is slow and fails. One of them runs in
//! the process of a node, with whose owners it shares what they confirm; the other too, or it reads the log by itself.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use eventlog::simulated::SimulatedLog;
use eventlog::{Admitted, EventLog, Partition};
use parking_lot::Mutex;
use projections::ViewState;
use projections::generations::{Generations, Scope};
use projections::pace::Pace;
use projections::parking::Parking;
use projections::progress::Progress;
use projections::projector::{Context, Projector};
use projections::store::{Checkpoints, Commit, Kind, Reflects, Snapshot, Store, StoreError, Visit};
use projections::stores::memory::{MemoryStore, MemoryView};
use schemas::{Codec, Envelope};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::judge::Judge;
use crate::plan::Plan;
use crate::random::Random;

/// A store that takes its time, and of a write that failed does not say whether it was made.
struct Rough<V: MemoryView> {
    store: MemoryStore<V>,
    random: Random,
    /// Per mille of operations.
    errors: Arc<Mutex<u64>>,
}

impl<V: MemoryView> Clone for Rough<V> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), random: self.random.clone(), errors: Arc::clone(&self.errors) }
    }
}

impl<V: MemoryView> Rough<V> {
    /// True when the operation is to fail.
    async fn fate(&self) -> bool {
        sleep(Duration::from_millis(self.random.within(0..12))).await;
        let errors = *self.errors.lock();
        self.random.per_mille(errors)
    }
}

fn down() -> Box<dyn std::error::Error + Send + Sync> {
    Box::new(io::Error::other("the store does not answer"))
}

impl<V: MemoryView> Store<V> for Rough<V> {
    fn kind(&self) -> Kind {
        Kind::Memory
    }

    async fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        self.store.checkpoints().await
    }

    async fn open(&self) -> Result<Checkpoints, StoreError> {
        match self.fate().await {
            true => Err(StoreError::Open { view: V::NAME, source: down() }),
            false => self.store.open().await,
        }
    }

    async fn load(&self, keys: &[V::Key]) -> Result<Vec<V>, StoreError> {
        match self.fate().await {
            true => Err(StoreError::Load { view: V::NAME, source: down() }),
            false => self.store.load(keys).await,
        }
    }

    async fn commit(&self, commit: Commit<V>) -> Result<(), StoreError> {
        let failed = || Err(StoreError::Commit { view: V::NAME, source: down() });
        if self.fate().await {
            return failed();
        }
        self.store.commit(commit).await?;
        if self.fate().await { failed() } else { Ok(()) }
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
        Self { store: self.store.numbered(generation), ..self.clone() }
    }

    fn generations(&self) -> &dyn Generations {
        Store::<V>::generations(&self.store)
    }
}

/// A view with its store and its projectors, whatever its row.
pub(crate) trait Watched {
    /// Kills the `seat`th projector, or starts it where none runs, in the process of a node or not.
    fn toggle(&mut self, seat: usize, place: &Place);
    /// The projector in the process of that node ends with it.
    fn die_with(&mut self, node: usize);
    /// Starts whoever does not run, with a store that fails no more.
    fn heal(&mut self, place: &Place);
    /// Begins anew with an empty store, as an operator does with a view that has stopped.
    fn rebuild(&mut self, place: &Place);
    /// Whether a projector has stopped and says why.
    fn stopped(&self) -> Option<String>;
    /// Whether it may stop: the log of one of its topics has lost something.
    fn folds(&self, partition: Partition) -> bool;
    /// Whether it has come to the end of `log`.
    fn is_at(&self, log: &SimulatedLog) -> bool;
    /// Whether it is what the log says.
    fn check(&self, judge: &Judge) -> Result<(), String>;
}

/// A node and the log as the views of its process read it.
pub(crate) type Place = (usize, Arc<dyn EventLog>);

/// A projector that runs.
struct Seated {
    running: JoinHandle<()>,
    progress: Progress,
    /// In the process of which node.
    node: Option<usize>,
}

pub(crate) struct Watch<V: MemoryView> {
    log: SimulatedLog,
    /// Those that anything is written to: an owner of each of the others would have nothing to do.
    scope: Scope,
    codec: Arc<Codec>,
    store: Rough<V>,
    seats: [Option<Seated>; 2],
    batch_events: usize,
    /// Both run in processes of nodes.
    inside: bool,
}

impl<V: MemoryView> Watch<V> {
    pub fn new(log: &SimulatedLog, random: &Random, plan: &Plan, used: &[Partition]) -> Self {
        let store = Rough {
            store: MemoryStore::default(),
            random: random.clone(),
            errors: Arc::new(Mutex::new(plan.store_errors)),
        };
        let partitions = used.iter().copied().filter(|partition| V::TOPICS.contains(&partition.topic)).collect();
        let scope = Scope { partitions, from: None };
        Self {
            log: log.clone(),
            scope,
            codec: Arc::new(Codec::local()),
            store,
            seats: [None, None],
            batch_events: plan.batch_max,
            inside: plan.inside,
        }
    }

    fn snapshot(&self) -> Snapshot<V> {
        // Memory keeps nobody waiting.
        let ready = now(self.store.store.snapshot());
        ready.and_then(Result::ok).expect("a store in memory answers at once")
    }
}

/// The outcome of a future that does not wait.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => None,
    }
}

impl<V: MemoryView> Watched for Watch<V> {
    fn toggle(&mut self, seat: usize, (node, shared): &Place) {
        if let Some(seated) = self.seats[seat].take() {
            return seated.running.abort();
        }
        let (log, node): (Arc<dyn EventLog>, _) = match seat {
            0 if !self.inside => (Arc::new(self.log.clone()), None),
            _ => (Arc::clone(shared), Some(*node)),
        };
        let progress = Progress::default();
        let context = Context {
            log,
            codec: Arc::clone(&self.codec),
            progress: progress.clone(),
            batch_events: self.batch_events,
            pace: Pace::Unbounded,
            scope: self.scope.clone(),
            shutdown: CancellationToken::new(),
        };
        let random = self.store.random.clone();
        let chance = Arc::new(move || random.next() as u32);
        let projector = Projector::<V, _>::new(context, self.store.clone()).simulated(chance);
        self.seats[seat] = Some(Seated { running: tokio::spawn(projector.run()), progress, node });
    }

    fn die_with(&mut self, node: usize) {
        for seat in &mut self.seats {
            if let Some(seated) = seat.take_if(|seated| seated.node == Some(node)) {
                seated.running.abort();
            }
        }
    }

    fn heal(&mut self, place: &Place) {
        *self.store.errors.lock() = 0;
        for seat in 0..self.seats.len() {
            if self.seats[seat].is_none() {
                self.toggle(seat, place);
            }
        }
    }

    fn rebuild(&mut self, place: &Place) {
        for seat in &mut self.seats {
            if let Some(seated) = seat.take() {
                seated.running.abort();
            }
        }
        self.store.store = MemoryStore::default();
        self.heal(place);
    }

    fn stopped(&self) -> Option<String> {
        self.seats.iter().flatten().find_map(|seated| match seated.progress.state(V::NAME) {
            Some(ViewState::Stopped { reason }) => Some(format!("{}: {reason}", V::NAME)),
            _ => None,
        })
    }

    fn folds(&self, partition: Partition) -> bool {
        V::TOPICS.contains(&partition.topic)
    }

    fn is_at(&self, log: &SimulatedLog) -> bool {
        let checkpoints = self.snapshot().reflects.checkpoints;
        let next = |partition| checkpoints.get(&partition).map_or(0, |checkpoint| checkpoint.next);
        V::partitions().into_iter().all(|partition| next(partition) == log.ends(partition).1)
    }

    fn check(&self, judge: &Judge) -> Result<(), String> {
        let mut rows: BTreeMap<V::Key, V> = BTreeMap::new();
        for partition in judge.partitions().into_iter().filter(|partition| self.folds(*partition)) {
            for stored in judge.valid(partition) {
                let envelope = Envelope::from_headers(&stored.record.headers).map_err(|error| error.to_string())?;
                let admitted = Admitted {
                    partition,
                    offset: stored.offset,
                    timestamp: stored.timestamp,
                    envelope: Arc::new(envelope),
                    record: stored.record.clone(),
                    event: None,
                };
                if let Some(event) = V::decode(judge.codec(), &admitted).map_err(|error| error.to_string())? {
                    let key = V::key_of(&event);
                    let row = V::fold(rows.remove(&key), &event);
                    rows.extend(row.map(|row| (key, row)));
                }
            }
        }
        let stored = self.snapshot().rows;
        if stored != rows {
            let differs = rows.keys().chain(stored.keys()).find(|key| rows.get(*key) != stored.get(*key));
            let shown = differs.map(|key| (key, stored.get(key), rows.get(key)));
            return Err(format!("{} is not the fold of the log (key, stored, folded): {shown:?}", V::NAME));
        }
        Ok(())
    }
}
