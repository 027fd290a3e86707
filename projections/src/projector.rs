//! The projector: folds the log into the rows of one view.
//!
//! A thread polls and decodes; a task loads the rows of a batch, folds in memory, writes each changed row once and moves
//! the checkpoints in the same transaction, by compare-and-set; far behind, it folds a batch while the one before it is written. So rows and checkpoints never disagree, however it is
//! killed, and of two projectors of one view at most one wins each batch.
//!
//! | what goes wrong | what it does |
//! |---|---|
//! | the store or the log does not answer | tries again from the same position, with jittered pauses, by itself |
//! | a checkpoint is not where it was | somebody else folds too, or the store came back with less (a failover to a replica that was behind): starts over from the store's checkpoints; looked for twice a second. What a query answers says how far its store was in the same moment, so that nobody is told more meanwhile |
//! | the log is not the one that was folded | stops and says so |
//! | an event cannot be read or applied | parks it, and lets later ones of its key queue behind: see [`crate::parking`] |

mod again;
mod applying;
mod backoff;
mod care;
mod reader;
mod sorting;
mod trace;

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use eventlog::EventLog;
use schemas::Codec;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
pub use self::backoff::Chance;
use self::care::{Advice, Care};
use self::reader::{Deliveries, Delivery, Reader};
use self::sorting::Sorting;
use crate::generations::Scope;
use crate::metrics::{PARKED_EVENTS, PARKED_KEYS, STOPPED, STORE_ERRORS};
use crate::pace::Pace;
use crate::parking::{Cause, Parked};
use crate::progress::{Course, Progress, ViewState};
use crate::store::{Checkpoints, Store, StoreError};
use crate::view::View;

/// Most records of a batch: where the stores' rates level off.
pub const BATCH_EVENTS: usize = 2_000;

/// How long a store may take for one operation before it counts as not answering.
const STORE_SECONDS: u64 = 30;
/// How often it is looked whether the store still stands where it was left, and whether operators want parked events tried
/// again.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a projector works with.
#[derive(Clone)]
pub struct Context {
    /// What is folded.
    pub log: Arc<dyn EventLog>,
    /// Reads its records.
    pub codec: Arc<Codec>,
    /// Where positions are published.
    pub progress: Progress,
    /// Most records of a batch; see [`BATCH_EVENTS`].
    pub batch_events: usize,
    /// How fast.
    pub pace: Pace,
    /// Which part of the log is folded.
    pub scope: Scope,
    /// Ends it, after the batch in hand.
    pub shutdown: CancellationToken,
}

/// Folds the log into the store of one view.
pub struct Projector<V: View, S: Store<V>> {
    context: Context,
    store: S,
    course: Course,
    /// Of its metrics.
    labels: Labels,
    chance: Chance,
    /// The log is read in a task, not on a thread.
    in_a_task: bool,
    view: std::marker::PhantomData<fn() -> V>,
}

/// View and generation.
type Labels = [(&'static str, String); 2];

/// Why a round ended.
enum End {
    Shutdown,
    /// Another projector moved a checkpoint.
    Moved,
    /// It is to start over from the store's checkpoints.
    Again,
    /// A batch cannot be applied as it is.
    Unfit(Cause),
    Stop(String),
}

impl<V: View, S: Store<V>> Projector<V, S> {
    /// A projector of `V` into `store`.
    pub fn new(context: Context, store: S) -> Self {
        let course = context.progress.register(V::NAME, store.generation(), &context.scope.partitions::<V>());
        let labels = [("view", V::NAME.to_owned()), ("generation", store.generation().to_string())];
        let view = std::marker::PhantomData;
        Self { context, store, course, labels, chance: backoff::system(), in_a_task: false, view }
    }

    pub(crate) fn course(&self) -> Course {
        self.course.clone()
    }

    /// Reads in a task, of a log that keeps nobody waiting, and with the caller's chance: for a simulation on one thread.
    #[must_use]
    pub fn simulated(self, chance: Chance) -> Self {
        Self { chance, in_a_task: true, ..self }
    }

    /// Runs it as a task. A panic in it is a stop that says so.
    pub fn spawn(self) -> JoinHandle<()> {
        let (course, labels) = (self.course.clone(), self.labels.clone());
        tokio::spawn(async move {
            if let Err(error) = tokio::spawn(self.run()).await {
                stop(&course, &labels, format!("the projector failed: {error}"));
            }
        })
    }

    /// Runs until it is told to shut down, or cannot go on without help.
    pub async fn run(self) {
        ::metrics::gauge!(STOPPED, &self.labels).set(0.0);
        let mut backoff = Backoff::new(&self.chance);
        let mut care = Care::new(self.context.pace.batch_events(self.context.batch_events));
        loop {
            match self.round(&mut care).await {
                End::Shutdown => return,
                End::Again => {}
                End::Unfit(cause) => {
                    self.trouble(format!("one event after the other cannot be applied: {}", cause.detail()));
                    self.pause(&mut backoff).await;
                }
                End::Moved => {
                    tracing::info!(view = V::NAME, "another projector moved the checkpoints; starting over from them");
                    self.pause(&mut backoff).await;
                }
                End::Stop(reason) => return stop(&self.course, &self.labels, reason),
            }
        }
    }

    async fn pause(&self, backoff: &mut Backoff) {
        tokio::select! {
            () = self.context.shutdown.cancelled() => {}
            () = sleep(backoff.pause()) => {}
        }
    }

    /// From the store's checkpoints on, until something ends it.
    async fn round(&self, care: &mut Care) -> End {
        let (checkpoints, mut parked) = match self.begin().await {
            Ok(begun) => begun,
            Err(end) => return end,
        };
        self.show(&parked);
        let next =
            |partition| checkpoints.get(&partition).map_or(0, |checkpoint: &eventlog::Checkpoint| checkpoint.next);
        self.course.restore(self.context.scope.partitions::<V>().into_iter().map(|p| (p, next(p))));
        let mut at = checkpoints.clone();
        let (out, deliveries) = mpsc::channel(reader::DEPTH);
        let deliveries = Deliveries::new(deliveries);
        let reader = self.reader(checkpoints, Sorting::new(&parked, &care.unfit), care);
        if self.in_a_task {
            let (_, end) = tokio::join!(reader.run_in_a_task(out), self.write(deliveries, &mut at, &mut parked, care));
            return end;
        }
        let thread = thread::Builder::new().name(format!("project-{}", V::NAME));
        let reader = match thread.spawn(move || reader.run(&out)) {
            Ok(reader) => reader,
            Err(error) => return End::Stop(format!("starting a thread failed: {error}")),
        };
        let end = self.write(deliveries, &mut at, &mut parked, care).await;
        match tokio::task::spawn_blocking(move || reader.join()).await {
            Ok(Ok(())) => end,
            _ => End::Stop("the reader panicked".to_owned()),
        }
    }

    /// Opens the store, and tries again what operators want tried again.
    async fn begin(&self) -> Result<(Checkpoints, Parked), End> {
        let checkpoints = self.retry(|| self.store.open()).await?;
        let parked = self.retry(|| self.store.parking().parked()).await?;
        if !parked.keys.values().any(|queue| queue.wanted) {
            return Ok((checkpoints, parked));
        }
        for (key, _) in parked.keys.iter().filter(|(_, queue)| queue.wanted) {
            self.try_again(key, &parked.resolutions).await?;
        }
        Ok((checkpoints, self.retry(|| self.store.parking().parked()).await?))
    }

    fn reader(&self, at: Checkpoints, sorting: Sorting, care: &Care) -> Reader<V> {
        let Context { log, codec, pace, scope, .. } = self.context.clone();
        let (course, limit, chance) = (self.course.clone(), care.limit(), Arc::clone(&self.chance));
        Reader { log, codec, course, limit, pace, scope, sorting, at, chance, tail: None, view: self.view }
    }

    async fn write(
        &self,
        mut deliveries: Deliveries<V>,
        at: &mut Checkpoints,
        parked: &mut Parked,
        care: &mut Care,
    ) -> End {
        let mut look = tokio::time::interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What becomes of the next batch, where it was folded already.
        let mut ahead = None;
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return End::Shutdown,
                _ = look.tick() => {
                    if let Err(end) = self.retry(|| self.look(at)).await {
                        return end;
                    }
                    if !parked.keys.is_empty() && self.is_wanted().await {
                        return End::Again;
                    }
                    continue;
                }
                delivery = deliveries.next() => delivery,
            };
            match delivery {
                Some(Delivery::Batch(mut batch)) => {
                    let folded = ahead.take();
                    if folded.is_none() {
                        deliveries.join(&mut batch, care.most());
                    }
                    match self.apply(&batch, folded, deliveries.ahead(care.most()), at).await {
                        Ok(next) => {
                            ahead = next;
                            care.applied(batch.events.len(), batch.parked.iter().map(|event| event.place));
                        }
                        Err(End::Unfit(cause)) => match care.failed(batch.events.len(), batch.last, cause.clone()) {
                            Advice::Again => return End::Again,
                            Advice::Wait => return End::Unfit(cause),
                        },
                        Err(end) => return end,
                    }
                    if !batch.parked.is_empty() {
                        batch.parked.iter().for_each(|event| parked.add(event));
                        self.show(parked);
                    }
                }
                Some(Delivery::Reading) => self.course.set_state(ViewState::Live),
                Some(Delivery::Trouble(reason)) => self.trouble(reason),
                Some(Delivery::Stop(reason)) => return End::Stop(reason),
                None => return End::Stop("the reader ended".to_owned()),
            }
        }
    }

    /// Whether operators want anything tried again. A store that does not say is asked again in a moment.
    async fn is_wanted(&self) -> bool {
        match timeout(Duration::from_secs(STORE_SECONDS), self.store.parking().is_wanted()).await {
            Ok(Ok(wanted)) => return wanted,
            Ok(Err(error)) => tracing::warn!(view = V::NAME, error = chain(&error), "are parked events wanted?"),
            Err(_) => tracing::warn!(view = V::NAME, "the store does not say whether parked events are wanted"),
        }
        false
    }

    /// Whether the store still stands where it was left.
    async fn look(&self, at: &Checkpoints) -> Result<(), StoreError> {
        let same = self.store.checkpoints().await? == *at;
        if same { Ok(()) } else { Err(StoreError::CheckpointMoved { view: V::NAME }) }
    }

    /// Until it succeeds, or something else than a store that does not answer ends it.
    async fn retry<T, E: Into<Failed>, F: Future<Output = Result<T, E>>>(
        &self,
        mut operation: impl FnMut() -> F,
    ) -> Result<T, End> {
        let mut backoff = Backoff::new(&self.chance);
        let mut failed = false;
        loop {
            let limited = timeout(Duration::from_secs(STORE_SECONDS), operation());
            let late = StoreError::Timeout { doing: "an operation of the store", seconds: STORE_SECONDS };
            match limited.await.map_or(Err(Failed::Store(late)), |done| done.map_err(Into::into)) {
                Ok(done) => {
                    if failed {
                        self.course.set_state(ViewState::Live);
                    }
                    return Ok(done);
                }
                Err(Failed::Unfit(cause)) => return Err(End::Unfit(cause)),
                Err(Failed::Store(StoreError::CheckpointMoved { .. })) => return Err(End::Moved),
                Err(Failed::Store(error)) => {
                    ::metrics::counter!(STORE_ERRORS, &self.labels).increment(1);
                    self.trouble(chain(&error));
                    failed = true;
                    self.pause(&mut backoff).await;
                }
            }
            if self.context.shutdown.is_cancelled() {
                return Err(End::Shutdown);
            }
        }
    }

    /// Says whose events are parked.
    fn show(&self, parked: &Parked) {
        let events: u64 = parked.keys.values().map(|queue| queue.events).sum();
        ::metrics::gauge!(PARKED_KEYS, &self.labels).set(parked.keys.len() as f64);
        ::metrics::gauge!(PARKED_EVENTS, &self.labels).set(events as f64);
        self.course.set_parked(parked.keys.keys().cloned().collect());
    }

    fn trouble(&self, reason: String) {
        tracing::warn!(view = V::NAME, reason, "the view does not move; trying again");
        self.course.set_state(ViewState::Retrying { reason });
    }
}

/// Why a batch was not applied.
enum Failed {
    Store(StoreError),
    /// An event cannot be applied.
    Unfit(Cause),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Refused { .. } => Self::Unfit(Cause::Refused { detail: chain(&error) }),
            _ => Self::Store(error),
        }
    }
}

fn stop(course: &Course, labels: &Labels, reason: String) {
    let [(_, view), (_, generation)] = labels;
    tracing::error!(view, generation, reason, "the view has stopped and needs help");
    ::metrics::gauge!(STOPPED, labels).set(1.0);
    course.set_state(ViewState::Stopped { reason });
}

/// The error and what caused it, as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
