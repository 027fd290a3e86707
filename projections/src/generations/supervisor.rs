//! Keeps a projector running for each generation of a view that is to be folded, or follows those that others fold, and
//! tells readers which one is live.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Generation, Scope};
use crate::follower::Follower;
use crate::pace::Pace;
use crate::progress::{Course, ViewState};
use crate::projector::{Context, Projector, chain};
use crate::store::{Store, StoreError};
use crate::view::View;

/// How often the store is asked which generations there are.
const EVERY: Duration = Duration::from_millis(250);
/// How long it may take to answer.
const ANSWER_SECONDS: u64 = 5;

/// Supervises one view.
pub(crate) struct Supervisor<V: View, S: Store<V>> {
    context: Context,
    store: S,
    /// Whether this process folds the view, or follows who does.
    folds: bool,
    running: BTreeMap<u32, Running>,
    view: PhantomData<fn() -> V>,
}

/// A generation that is folded or followed here.
struct Running {
    course: Course,
    pace: Pace,
    scope: Scope,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl<V: View, S: Store<V>> Supervisor<V, S> {
    pub fn new(context: Context, store: S, folds: bool) -> Self {
        // Until the store says more, readers wait for the one that is surely there.
        context.progress.register(V::NAME, store.generation(), &V::partitions());
        Self { context, store, folds, running: BTreeMap::new(), view: PhantomData }
    }

    pub fn spawn(self) -> JoinHandle<()> {
        tokio::spawn(self.run())
    }

    async fn run(mut self) {
        let shutdown = self.context.shutdown.clone();
        while !shutdown.is_cancelled() {
            match self.list().await {
                Ok(generations) => self.heed(&generations).await,
                Err(error) => self.trouble(&error),
            }
            shutdown.run_until_cancelled(sleep(EVERY)).await;
        }
        for (_, running) in std::mem::take(&mut self.running) {
            running.end().await;
        }
    }

    async fn list(&self) -> Result<Vec<Generation>, StoreError> {
        let late = StoreError::Timeout { doing: "asking for generations", seconds: ANSWER_SECONDS };
        let listed = timeout(Duration::from_secs(ANSWER_SECONDS), self.store.generations().list());
        listed.await.unwrap_or(Err(late))
    }

    /// A store that does not say which generations there are delays a view that has not begun; others go on.
    fn trouble(&self, error: &StoreError) {
        let reason = chain(error);
        tracing::warn!(view = V::NAME, reason, "the store does not say which generations there are");
        if self.running.is_empty() {
            let course = self.context.progress.register(V::NAME, self.store.generation(), &V::partitions());
            course.set_state(ViewState::Retrying { reason });
        }
    }

    async fn heed(&mut self, generations: &[Generation]) {
        let wanted = |generation: &&Generation| if self.folds { generation.is_folded() } else { generation.live };
        let wanted: BTreeMap<u32, &Generation> =
            generations.iter().filter(wanted).map(|generation| (generation.number, generation)).collect();
        let live = generations.iter().find(|generation| generation.live).map(|generation| generation.number);
        for (number, generation) in &wanted {
            let pace = if generation.live { Pace::Unbounded } else { generation.notes.pace };
            let scope = &generation.notes.scope;
            match self.running.get(number) {
                Some(running) if running.pace == pace && running.scope == *scope => continue,
                Some(running) => {
                    let widened = running.scope != *scope;
                    self.stop(*number).await;
                    // What is announced of it says which partitions it has.
                    if widened {
                        self.context.progress.forget(V::NAME, *number);
                    }
                }
                None => {}
            }
            self.start(*number, pace, scope.clone());
        }
        // Only what has been at its store is shown: the position that readers rely on is known then.
        let Some(live) = live else { return };
        let shown = self.context.progress.live(V::NAME) == Some(live);
        let begun = self.running.get(&live).is_some_and(|running| running.course.is_begun());
        if !shown && begun {
            tracing::info!(view = V::NAME, generation = live, "another generation is live");
            self.context.progress.set_live(V::NAME, live);
        }
        if shown || begun {
            let known = self.context.progress.generations().into_iter().filter(|(view, ..)| *view == V::NAME);
            for (_, number, _) in known.filter(|(_, number, _)| !wanted.contains_key(number)) {
                self.stop(number).await;
                self.context.progress.forget(V::NAME, number);
            }
        }
    }

    fn start(&mut self, number: u32, pace: Pace, scope: Scope) {
        let (store, shutdown) = (self.store.numbered(number), self.context.shutdown.child_token());
        let context = Context { pace, scope: scope.clone(), shutdown: shutdown.clone(), ..self.context.clone() };
        let (course, task) = if self.folds {
            let projector = Projector::<V, S>::new(context, store);
            (projector.course(), projector.spawn())
        } else {
            let follower = Follower::<V, S>::new(store, &context.progress, shutdown.clone());
            (follower.course(), follower.spawn())
        };
        self.running.insert(number, Running { course, pace, scope, shutdown, task });
    }

    async fn stop(&mut self, number: u32) {
        if let Some(running) = self.running.remove(&number) {
            running.end().await;
        }
    }
}

impl Running {
    async fn end(self) {
        self.shutdown.cancel();
        // A projector's panic is caught and reported where it is spawned.
        let _ = self.task.await;
    }
}
