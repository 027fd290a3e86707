//! How far the projectors of other processes have brought a generation of a view: for a process that reads the view and does
//! not fold it.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use eventlog::Partition;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::parking::Parked;
use crate::progress::{Course, Progress, ViewState};
use crate::projector::chain;
use crate::store::{Store, StoreError};
use crate::view::View;

/// How often the store is asked while nobody waits for a write.
const EVERY: Duration = Duration::from_millis(250);
/// And while somebody does.
const SOON: Duration = Duration::from_millis(5);
/// How often it is asked what is parked.
const PARKED_EVERY: Duration = Duration::from_secs(1);
/// How long the store may take to answer.
const ANSWER_SECONDS: u64 = 5;

/// Follows the checkpoints of one generation of a view.
pub(crate) struct Follower<V: View, S: Store<V>> {
    store: S,
    course: Course,
    shutdown: CancellationToken,
    view: PhantomData<fn() -> V>,
}

impl<V: View, S: Store<V>> Follower<V, S> {
    pub fn new(store: S, progress: &Progress, shutdown: CancellationToken) -> Self {
        let course = progress.register(V::NAME, store.generation(), &V::partitions());
        Self { store, course, shutdown, view: PhantomData }
    }

    pub fn course(&self) -> Course {
        self.course.clone()
    }

    pub fn spawn(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            let shutdown = self.shutdown.clone();
            shutdown.run_until_cancelled(self.run()).await;
        })
    }

    async fn run(self) {
        let mut looked: Option<Instant> = None;
        loop {
            let due = looked.is_none_or(|looked| looked.elapsed() >= PARKED_EVERY);
            match self.ask(due).await {
                Ok((positions, parked)) => {
                    if let Some(parked) = parked {
                        looked = Some(Instant::now());
                        self.course.set_parked(parked.keys.into_keys().collect());
                    }
                    // It is as current as its store, whoever folds: there is nothing that this process could catch up with.
                    self.course.aim(BTreeMap::new());
                    self.course.publish(positions.into_iter());
                }
                Err(error) => {
                    let reason = chain(&error);
                    tracing::warn!(view = V::NAME, reason, "the store does not say how far the view is");
                    self.course.set_state(ViewState::Retrying { reason });
                }
            }
            sleep(SOON).await;
            tokio::select! {
                () = self.course.awaited() => {}
                () = sleep(EVERY) => {}
            }
        }
    }

    /// Positions, and if wanted what is parked.
    async fn ask(&self, parked: bool) -> Result<(Vec<(Partition, u64)>, Option<Parked>), StoreError> {
        let late = StoreError::Timeout { doing: "reading checkpoints", seconds: ANSWER_SECONDS };
        let asked = async {
            let checkpoints = self.store.checkpoints().await?;
            let parked = if parked { Some(self.store.parking().parked().await?) } else { None };
            Ok((checkpoints, parked))
        };
        let (read, parked) = timeout(Duration::from_secs(ANSWER_SECONDS), asked).await.unwrap_or(Err(late))?;
        Ok((read.into_iter().map(|(partition, checkpoint)| (partition, checkpoint.next)).collect(), parked))
    }
}
