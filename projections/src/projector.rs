//! The projector: folds the log into the rows of one view.
//!
//! A thread polls and decodes; a task loads the rows of a batch, folds in memory, writes each changed row once and moves
//! the checkpoints in the same transaction, by compare-and-set. So rows and checkpoints never disagree, however it is
//! killed, and of two projectors of one view at most one wins each batch.
//!
//! | what goes wrong | what it does |
//! |---|---|
//! | the store or the log does not answer | tries again from the same position, with jittered pauses, by itself |
//! | a checkpoint is not where it was | somebody else folds too: starts over from the store's checkpoints |
//! | the log is not the one that was folded | stops and says so |
//! | a record cannot be read | stops and names it |

mod backoff;
mod reader;
mod trace;

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eventlog::EventLog;
use schemas::Codec;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
pub use self::backoff::Chance;
use self::reader::{Batch, Delivery, Reader};
use crate::fold;
use crate::metrics::{BATCH_SECONDS, EVENT_AGE_SECONDS, EVENTS, NEXT_OFFSET, STOPPED, STORE_ERRORS};
use crate::progress::{Progress, ViewState};
use crate::store::{Checkpoints, Commit, Store, StoreError};
use crate::view::View;

/// Most records of a batch: where the stores' rates level off.
pub const BATCH_EVENTS: usize = 2_000;

/// How long a store may take for one operation before it counts as not answering.
const STORE_SECONDS: u64 = 30;

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
    /// Ends it, after the batch in hand.
    pub shutdown: CancellationToken,
}

/// Folds the log into the store of one view.
pub struct Projector<V: View, S: Store<V>> {
    context: Context,
    store: S,
    chance: Chance,
    /// The log is read in a task, not on a thread.
    in_a_task: bool,
    view: std::marker::PhantomData<fn() -> V>,
}

/// Why a round ended.
enum End {
    Shutdown,
    /// Another projector moved a checkpoint.
    Moved,
    Stop(String),
}

impl<V: View, S: Store<V>> Projector<V, S> {
    /// A projector of `V` into `store`.
    pub fn new(context: Context, store: S) -> Self {
        context.progress.register(V::NAME, &V::partitions());
        Self { context, store, chance: backoff::system(), in_a_task: false, view: std::marker::PhantomData }
    }

    /// Reads in a task, of a log that keeps nobody waiting, and with the caller's chance: for a simulation on one thread.
    #[must_use]
    pub fn simulated(self, chance: Chance) -> Self {
        Self { chance, in_a_task: true, ..self }
    }

    /// Runs it as a task. A panic in it is a stop that says so.
    pub fn spawn(self) -> JoinHandle<()> {
        let progress = self.context.progress.clone();
        tokio::spawn(async move {
            if let Err(error) = tokio::spawn(self.run()).await {
                stop(&progress, V::NAME, format!("the projector failed: {error}"));
            }
        })
    }

    /// Runs until it is told to shut down, or cannot go on without help.
    pub async fn run(self) {
        ::metrics::gauge!(STOPPED, "view" => V::NAME).set(0.0);
        let mut backoff = Backoff::new(&self.chance);
        loop {
            match self.round().await {
                End::Shutdown => return,
                End::Moved => {
                    tracing::info!(view = V::NAME, "another projector moved the checkpoints; starting over from them");
                    sleep(backoff.pause()).await;
                }
                End::Stop(reason) => return stop(&self.context.progress, V::NAME, reason),
            }
        }
    }

    /// From the store's checkpoints on, until something ends it.
    async fn round(&self) -> End {
        let checkpoints = match self.retry(|| self.store.open()).await {
            Ok(checkpoints) => checkpoints,
            Err(end) => return end,
        };
        let next =
            |partition| checkpoints.get(&partition).map_or(0, |checkpoint: &eventlog::Checkpoint| checkpoint.next);
        self.context.progress.restore(V::NAME, V::partitions().into_iter().map(|p| (p, next(p))));
        let (out, deliveries) = mpsc::channel(reader::DEPTH);
        let reader = self.reader(checkpoints);
        if self.in_a_task {
            let (_, end) = tokio::join!(reader.run_in_a_task(out), self.write(deliveries));
            return end;
        }
        let thread = thread::Builder::new().name(format!("project-{}", V::NAME));
        let reader = match thread.spawn(move || reader.run(&out)) {
            Ok(reader) => reader,
            Err(error) => return End::Stop(format!("starting a thread failed: {error}")),
        };
        let end = self.write(deliveries).await;
        match tokio::task::spawn_blocking(move || reader.join()).await {
            Ok(Ok(())) => end,
            _ => End::Stop("the reader panicked".to_owned()),
        }
    }

    fn reader(&self, at: Checkpoints) -> Reader<V> {
        let Context { log, codec, progress, batch_events, .. } = self.context.clone();
        Reader { log, codec, progress, batch_events, at, chance: Arc::clone(&self.chance), tail: None, view: self.view }
    }

    async fn write(&self, mut deliveries: mpsc::Receiver<Delivery<V>>) -> End {
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return End::Shutdown,
                delivery = deliveries.recv() => delivery,
            };
            match delivery {
                Some(Delivery::Batch(batch)) => {
                    if let Err(end) = self.apply(&batch).await {
                        return end;
                    }
                }
                Some(Delivery::Reading) => self.context.progress.set_state(V::NAME, ViewState::Live),
                Some(Delivery::Trouble(reason)) => self.trouble(reason),
                Some(Delivery::Stop(reason)) => return End::Stop(reason),
                None => return End::Stop("the reader ended".to_owned()),
            }
        }
    }

    /// Makes the batch visible.
    async fn apply(&self, batch: &Batch<V>) -> Result<(), End> {
        let spans: Vec<_> = batch.traces.iter().map(|parent| trace::span(V::NAME, parent)).collect();
        let started = Instant::now();
        self.retry(|| self.attempt(batch)).await?;
        drop(spans);
        let positions = batch.moves.iter().map(|step| (step.partition, step.to.next));
        self.context.progress.publish(V::NAME, positions);
        measure(batch, started.elapsed());
        Ok(())
    }

    /// Loads anew each time: after an error nobody knows what the store holds.
    async fn attempt(&self, batch: &Batch<V>) -> Result<(), StoreError> {
        let wanted = fold::wanted::<V>(&batch.events);
        let rows = if wanted.is_empty() { Vec::new() } else { self.store.load(&wanted).await? };
        let (upserts, deletes) = fold::changes(&batch.events, rows);
        self.store.commit(Commit { upserts, deletes, moves: batch.moves.clone() }).await
    }

    /// Until it succeeds, or something else than a store that does not answer ends it.
    async fn retry<T, F: Future<Output = Result<T, StoreError>>>(&self, operation: impl Fn() -> F) -> Result<T, End> {
        let mut backoff = Backoff::new(&self.chance);
        loop {
            let limited = timeout(Duration::from_secs(STORE_SECONDS), operation());
            let late = StoreError::Timeout { doing: "an operation of the store", seconds: STORE_SECONDS };
            match limited.await.unwrap_or(Err(late)) {
                Ok(done) => return Ok(done),
                Err(StoreError::CheckpointMoved { .. }) => return Err(End::Moved),
                Err(error) => {
                    ::metrics::counter!(STORE_ERRORS, "view" => V::NAME).increment(1);
                    self.trouble(chain(&error));
                }
            }
            tokio::select! {
                biased;
                () = self.context.shutdown.cancelled() => return Err(End::Shutdown),
                () = sleep(backoff.pause()) => {}
            }
        }
    }

    fn trouble(&self, reason: String) {
        tracing::warn!(view = V::NAME, reason, "the view does not move; trying again");
        self.context.progress.set_state(V::NAME, ViewState::Retrying { reason });
    }
}

fn stop(progress: &Progress, view: &'static str, reason: String) {
    tracing::error!(view, reason, "the view has stopped and needs help");
    ::metrics::gauge!(STOPPED, "view" => view).set(1.0);
    progress.set_state(view, ViewState::Stopped { reason });
}

fn measure<V: View>(batch: &Batch<V>, took: Duration) {
    ::metrics::counter!(EVENTS, "view" => V::NAME).increment(batch.events.len() as u64);
    ::metrics::histogram!(BATCH_SECONDS, "view" => V::NAME).record(took);
    for step in &batch.moves {
        let partition = step.partition.number.to_string();
        ::metrics::gauge!(NEXT_OFFSET, "view" => V::NAME, "topic" => step.partition.topic.name, "partition" => partition)
            .set(step.to.next as f64);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let Some(appended) = batch.oldest.and_then(|oldest| u64::try_from(oldest.0).ok()) {
        let age = now.saturating_sub(Duration::from_millis(appended));
        ::metrics::histogram!(EVENT_AGE_SECONDS, "view" => V::NAME).record(age);
    }
}

/// The error and what caused it, as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
