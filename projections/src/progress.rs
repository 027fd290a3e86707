//! How far each view has come, for those who wait for a write to become visible and for those who watch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eventlog::Partition;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use crate::parking::ParkedKey;

/// Positions of all views. Clones share.
#[derive(Clone, Default)]
pub struct Progress(Arc<RwLock<BTreeMap<&'static str, Arc<Entry>>>>);

/// What a view is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewState {
    /// It has not read anything yet.
    Starting,
    /// It follows the log.
    Live,
    /// Its store or the log does not answer; it goes on by itself when they do.
    Retrying {
        /// What went wrong last.
        reason: String,
    },
    /// It will not go on without help.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// The view does not reflect the positions that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// The deadline passed.
    #[error("{view} does not reflect it yet")]
    Deadline {
        /// Which view.
        view: String,
    },
    /// It will not without help.
    #[error("{view} has stopped: {reason}")]
    Stopped {
        /// Which view.
        view: String,
        /// Why.
        reason: String,
    },
    /// There is no such view.
    #[error("there is no view {view}")]
    Unknown {
        /// What was asked for.
        view: String,
    },
}

struct Entry {
    standing: watch::Sender<Standing>,
    /// Somebody has begun to wait.
    awaited: Notify,
    /// Whose events are parked.
    parked: RwLock<Arc<BTreeSet<ParkedKey>>>,
}

/// What is known of one view.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Standing {
    state: ViewState,
    next: BTreeMap<Partition, u64>,
    /// The log's ends when the view started, once they are known.
    goal: Option<BTreeMap<Partition, u64>>,
}

impl Standing {
    fn reached(&self, positions: &BTreeMap<Partition, u64>) -> bool {
        positions.iter().all(|(partition, end)| self.next.get(partition).is_some_and(|next| next >= end))
    }

    fn caught_up(&self) -> bool {
        let stopped = matches!(self.state, ViewState::Stopped { .. });
        !stopped && self.goal.as_ref().is_some_and(|goal| self.reached(goal))
    }
}

impl Progress {
    /// Waits until `view` reflects each of `positions`, given as the offset of a record. Partitions that the view does
    /// not fold are no obstacle.
    ///
    /// # Errors
    /// When that is not so by `deadline`, or cannot come to be.
    pub async fn wait_for(&self, view: &str, positions: &[(Partition, u64)], deadline: Instant) -> Result<(), NotYet> {
        let entry = self.0.read().get(view).cloned();
        let entry = entry.ok_or_else(|| NotYet::Unknown { view: view.to_owned() })?;
        let mut standing = entry.standing.subscribe();
        entry.awaited.notify_one();
        let reflects = |standing: &Standing| {
            positions.iter().all(|(partition, offset)| standing.next.get(partition).is_none_or(|next| next > offset))
        };
        let over = |standing: &Standing| matches!(standing.state, ViewState::Stopped { .. }) || reflects(standing);
        match timeout_at(deadline, standing.wait_for(over)).await {
            Ok(Ok(standing)) if reflects(&standing) => Ok(()),
            Ok(Ok(standing)) => match &standing.state {
                ViewState::Stopped { reason } => Err(NotYet::Stopped { view: view.to_owned(), reason: reason.clone() }),
                _ => Err(NotYet::Deadline { view: view.to_owned() }),
            },
            // The sender lives as long as `entry`, so only the deadline is left.
            Ok(Err(_)) | Err(_) => Err(NotYet::Deadline { view: view.to_owned() }),
        }
    }

    /// Which positions `view` reflects: for each of its partitions the offset after the last record that it has folded.
    #[must_use]
    pub fn reflects(&self, view: &str) -> Vec<(Partition, u64)> {
        let views = self.0.read();
        views.get(view).map_or_else(Vec::new, |entry| {
            entry.standing.borrow().next.iter().map(|(partition, next)| (*partition, *next)).collect()
        })
    }

    /// The aggregates whose events are parked in `view`: what it shows of them is not up to date.
    #[must_use]
    pub fn parked(&self, view: &str) -> Arc<BTreeSet<ParkedKey>> {
        self.0.read().get(view).map_or_else(Arc::default, |entry| Arc::clone(&entry.parked.read()))
    }

    pub(crate) fn set_parked(&self, view: &str, keys: BTreeSet<ParkedKey>) {
        if let Some(entry) = self.0.read().get(view) {
            *entry.parked.write() = Arc::new(keys);
        }
    }

    /// What each view is doing.
    #[must_use]
    pub fn states(&self) -> Vec<(&'static str, ViewState)> {
        self.0.read().iter().map(|(view, entry)| (*view, entry.standing.borrow().state.clone())).collect()
    }

    /// What `view` is doing.
    #[must_use]
    pub fn state(&self, view: &str) -> Option<ViewState> {
        self.0.read().get(view).map(|entry| entry.standing.borrow().state.clone())
    }

    /// Whether every view has reached the ends that the log had when it started, and none has stopped.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.0.read().values().all(|entry| entry.standing.borrow().caught_up())
    }

    /// Announces `view`: nothing folded yet.
    pub fn register(&self, view: &'static str, partitions: &[Partition]) {
        let next = partitions.iter().map(|partition| (*partition, 0)).collect();
        let (sender, _) = watch::channel(Standing { state: ViewState::Starting, next, goal: None });
        let entry = Entry { standing: sender, awaited: Notify::new(), parked: RwLock::default() };
        self.0.write().insert(view, Arc::new(entry));
    }

    /// Ends at once while somebody waits for `view`, else when somebody begins to.
    pub(crate) async fn awaited(&self, view: &str) {
        let entry = self.0.read().get(view).cloned();
        match entry {
            Some(entry) if entry.standing.receiver_count() == 0 => entry.awaited.notified().await,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }

    /// Whether the log's ends of the start are known.
    pub(crate) fn is_aimed(&self, view: &str) -> bool {
        self.0.read().get(view).is_some_and(|entry| entry.standing.borrow().goal.is_some())
    }

    /// The log's ends when the view started; later calls change nothing.
    pub(crate) fn aim(&self, view: &str, ends: BTreeMap<Partition, u64>) {
        self.change(view, |standing| {
            let first = standing.goal.is_none();
            standing.goal.get_or_insert(ends);
            first
        });
    }

    /// The store of `view` stands here, also if that is further back than was known.
    pub(crate) fn restore(&self, view: &str, positions: impl Iterator<Item = (Partition, u64)>) {
        self.change(view, |standing| {
            standing.next.extend(positions);
            true
        });
    }

    /// `view` has folded on to these positions.
    pub(crate) fn publish(&self, view: &str, positions: impl Iterator<Item = (Partition, u64)>) {
        self.change(view, |standing| {
            standing.next.extend(positions);
            standing.state = ViewState::Live;
            true
        });
    }

    pub(crate) fn set_state(&self, view: &str, state: ViewState) {
        self.change(view, |standing| {
            let changed = standing.state != state;
            standing.state = state;
            changed
        });
    }

    fn change(&self, view: &str, how: impl FnOnce(&mut Standing) -> bool) {
        if let Some(entry) = self.0.read().get(view) {
            entry.standing.send_if_modified(how);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use schemas::topics;

    use super::*;

    const P: Partition = Partition { topic: &topics::ORDER, number: 3 };
    const OTHER: Partition = Partition { topic: &topics::STOCK, number: 3 };

    fn progress() -> Progress {
        let progress = Progress::default();
        progress.register("v", &[P]);
        progress
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_its_record_is_folded() {
        let progress = progress();
        progress.publish("v", [(P, 7)].into_iter());
        assert_eq!(progress.wait_for("v", &[(P, 6), (OTHER, 99)], soon()).await, Ok(()));
        assert_eq!(progress.wait_for("v", &[(P, 7)], soon()).await, Err(NotYet::Deadline { view: "v".into() }));
        let waiter = {
            let progress = progress.clone();
            let late = Instant::now() + Duration::from_secs(60);
            tokio::spawn(async move { progress.wait_for("v", &[(P, 7)], late).await })
        };
        tokio::task::yield_now().await;
        progress.publish("v", [(P, 8)].into_iter());
        assert_eq!(waiter.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_view_that_has_stopped() {
        let progress = progress();
        progress.set_state("v", ViewState::Stopped { reason: "x".into() });
        let late = Instant::now() + Duration::from_secs(60);
        let stopped = NotYet::Stopped { view: "v".into(), reason: "x".into() };
        assert_eq!(progress.wait_for("v", &[(P, 0)], late).await, Err(stopped));
        assert_eq!(progress.wait_for("w", &[], late).await, Err(NotYet::Unknown { view: "w".into() }));
    }

    #[test]
    fn caught_up_is_to_have_reached_the_ends_of_the_start() {
        let progress = progress();
        assert!(!progress.is_caught_up());
        progress.aim("v", BTreeMap::from([(P, 2)]));
        progress.aim("v", BTreeMap::from([(P, 9)]));
        progress.publish("v", [(P, 1)].into_iter());
        assert!(!progress.is_caught_up());
        progress.publish("v", [(P, 2)].into_iter());
        assert!(progress.is_caught_up());
        progress.set_state("v", ViewState::Stopped { reason: "x".into() });
        assert!(!progress.is_caught_up());
    }
}
