//! How far the projectors of other processes have brought a view: for a process that reads the view and does not fold it.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::progress::{Progress, ViewState};
use crate::projector::chain;
use crate::store::{Store, StoreError};
use crate::view::View;

/// How often the store is asked while nobody waits for a write.
const EVERY: Duration = Duration::from_millis(250);
/// And while somebody does.
const SOON: Duration = Duration::from_millis(5);
/// How long the store may take to answer.
const ANSWER_SECONDS: u64 = 5;

/// Follows the checkpoints of one view.
pub(crate) struct Follower<V: View, S: Store<V>> {
    store: S,
    progress: Progress,
    shutdown: CancellationToken,
    view: PhantomData<fn() -> V>,
}

impl<V: View, S: Store<V>> Follower<V, S> {
    pub fn new(store: S, progress: Progress, shutdown: CancellationToken) -> Self {
        progress.register(V::NAME, &V::partitions());
        Self { store, progress, shutdown, view: PhantomData }
    }

    pub fn spawn(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            let shutdown = self.shutdown.clone();
            shutdown.run_until_cancelled(self.run()).await;
        })
    }

    async fn run(self) {
        loop {
            match self.checkpoints().await {
                Ok(positions) => {
                    // It is as current as its store, whoever folds: there is nothing that this process could catch up with.
                    self.progress.aim(V::NAME, BTreeMap::new());
                    self.progress.publish(V::NAME, positions.into_iter());
                }
                Err(error) => {
                    let reason = chain(&error);
                    tracing::warn!(view = V::NAME, reason, "the store does not say how far the view is");
                    self.progress.set_state(V::NAME, ViewState::Retrying { reason });
                }
            }
            sleep(SOON).await;
            tokio::select! {
                () = self.progress.awaited(V::NAME) => {}
                () = sleep(EVERY) => {}
            }
        }
    }

    async fn checkpoints(&self) -> Result<Vec<(eventlog::Partition, u64)>, StoreError> {
        let late = StoreError::Timeout { doing: "reading checkpoints", seconds: ANSWER_SECONDS };
        let read = timeout(Duration::from_secs(ANSWER_SECONDS), self.store.checkpoints()).await.unwrap_or(Err(late))?;
        Ok(read.into_iter().map(|(partition, checkpoint)| (partition, checkpoint.next)).collect())
    }
}
