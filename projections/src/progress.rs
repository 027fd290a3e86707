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
pub struct Progress(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    /// Of each view the generation that readers see.
    live: BTreeMap<&'static str, u32>,
    all: BTreeMap<(&'static str, u32), Arc<Entry>>,
}

impl Known {
    fn live(&self, view: &str) -> Option<&Arc<Entry>> {
        let (view, number) = self.live.get_key_value(view)?;
        self.all.get(&(*view, *number))
    }
}

/// How one generation of a view is coming on, for who folds it. Clones share.
#[derive(Clone)]
pub(crate) struct Course(Arc<Entry>);

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
    /// Nobody folds it here any more.
    forgotten: bool,
}

impl Standing {
    fn reflects(&self, positions: &[(Partition, u64)]) -> bool {
        positions.iter().all(|(partition, offset)| self.next.get(partition).is_none_or(|next| next > offset))
    }

    fn reached(&self, positions: &BTreeMap<Partition, u64>) -> bool {
        positions.iter().all(|(partition, end)| self.next.get(partition).is_some_and(|next| next >= end))
    }

    fn caught_up(&self) -> bool {
        let stopped = matches!(self.state, ViewState::Stopped { .. });
        !stopped && self.goal.as_ref().is_some_and(|goal| self.reached(goal))
    }
}

impl Progress {
    /// Waits until `view` is known to have reflected each of `positions`, given as the offset of a record; its store may have lost it
    /// again, which only a query with a position in it can tell ([`crate::AsOf`]). Partitions that the view does
    /// not fold are no obstacle. Answers the generation that does: one that becomes live meanwhile may reflect less.
    ///
    /// # Errors
    /// When that is not so by `deadline`, or cannot come to be.
    pub async fn wait_for(&self, view: &str, positions: &[(Partition, u64)], deadline: Instant) -> Result<u32, NotYet> {
        loop {
            let (generation, entry) = {
                let known = self.0.read();
                known.live.get(view).copied().zip(known.live(view).cloned())
            }
            .ok_or_else(|| NotYet::Unknown { view: view.to_owned() })?;
            if positions.is_empty() {
                return Ok(generation);
            }
            match entry.reflects(positions, deadline).await {
                Reached::Reflects => return Ok(generation),
                Reached::Stopped(reason) => return Err(NotYet::Stopped { view: view.to_owned(), reason }),
                Reached::Deadline => return Err(NotYet::Deadline { view: view.to_owned() }),
                Reached::Forgotten => {}
            }
        }
    }

    /// Which positions `view` reflects: for each of its partitions the offset after the last record that it has folded.
    #[must_use]
    pub fn reflects(&self, view: &str) -> Vec<(Partition, u64)> {
        self.0.read().live(view).map_or_else(Vec::new, |entry| positions(entry))
    }

    /// The same of a generation.
    #[must_use]
    pub fn generation_reflects(&self, view: &str, generation: u32) -> Vec<(Partition, u64)> {
        let known = self.0.read();
        let entry = known.all.iter().find(|((name, number), _)| *name == view && *number == generation);
        entry.map_or_else(Vec::new, |(_, entry)| positions(entry))
    }

    /// The generations that this process folds or follows, and what each of them is doing.
    #[must_use]
    pub fn generations(&self) -> Vec<(&'static str, u32, ViewState)> {
        let known = self.0.read();
        let state = |((view, number), entry): (&(&'static str, u32), &Arc<Entry>)| {
            (*view, *number, entry.standing.borrow().state.clone())
        };
        known.all.iter().map(state).collect()
    }

    /// The generation of `view` that readers see.
    #[must_use]
    pub fn live(&self, view: &str) -> Option<u32> {
        self.0.read().live.get(view).copied()
    }

    /// The aggregates whose events are parked in `view`: what it shows of them is not up to date.
    #[must_use]
    pub fn parked(&self, view: &str) -> Arc<BTreeSet<ParkedKey>> {
        self.0.read().live(view).map_or_else(Arc::default, |entry| Arc::clone(&entry.parked.read()))
    }

    /// What each view is doing.
    #[must_use]
    pub fn states(&self) -> Vec<(&'static str, ViewState)> {
        let known = self.0.read();
        let state = |view: &&'static str| Some((*view, known.live(view)?.standing.borrow().state.clone()));
        known.live.keys().filter_map(state).collect()
    }

    /// What `view` is doing.
    #[must_use]
    pub fn state(&self, view: &str) -> Option<ViewState> {
        self.0.read().live(view).map(|entry| entry.standing.borrow().state.clone())
    }

    /// Whether every view has reached the ends that the log had when it started, and none has stopped.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let known = self.0.read();
        known.live.keys().all(|view| known.live(view).is_some_and(|entry| entry.standing.borrow().caught_up()))
    }

    /// Announces a generation of `view`, of which nothing is folded yet, or finds it announced. The first one that is announced is live until
    /// [`Self::set_live`] says another.
    pub(crate) fn register(&self, view: &'static str, generation: u32, partitions: &[Partition]) -> Course {
        let next = partitions.iter().map(|partition| (*partition, 0)).collect();
        let (sender, _) = watch::channel(Standing { state: ViewState::Starting, next, goal: None, forgotten: false });
        let new = Entry { standing: sender, awaited: Notify::new(), parked: RwLock::default() };
        let mut known = self.0.write();
        known.live.entry(view).or_insert(generation);
        Course(Arc::clone(known.all.entry((view, generation)).or_insert_with(|| Arc::new(new))))
    }

    /// Readers see `generation` from now on, which is announced.
    pub(crate) fn set_live(&self, view: &'static str, generation: u32) {
        self.0.write().live.insert(view, generation);
    }

    /// A generation of `view` is not folded here any more.
    pub(crate) fn forget(&self, view: &'static str, generation: u32) {
        let mut known = self.0.write();
        if known.live.get(view) != Some(&generation)
            && let Some(entry) = known.all.remove(&(view, generation))
        {
            entry.standing.send_modify(|standing| standing.forgotten = true);
        }
    }
}

/// What came of waiting for a generation.
enum Reached {
    Reflects,
    Stopped(String),
    Deadline,
    /// It is not folded here any more: another one is live.
    Forgotten,
}

impl Entry {
    async fn reflects(&self, positions: &[(Partition, u64)], deadline: Instant) -> Reached {
        let mut standing = self.standing.subscribe();
        self.awaited.notify_one();
        let told = |standing: &Standing| match &standing.state {
            _ if standing.forgotten => Some(Reached::Forgotten),
            _ if standing.reflects(positions) => Some(Reached::Reflects),
            ViewState::Stopped { reason } => Some(Reached::Stopped(reason.clone())),
            _ => None,
        };
        let waited = timeout_at(deadline, standing.wait_for(|standing| told(standing).is_some())).await;
        // The sender lives as long as this entry, so without an answer only the deadline is left.
        waited.ok().and_then(Result::ok).and_then(|standing| told(&standing)).unwrap_or(Reached::Deadline)
    }
}

fn positions(entry: &Entry) -> Vec<(Partition, u64)> {
    entry.standing.borrow().next.iter().map(|(partition, next)| (*partition, *next)).collect()
}

impl Course {
    /// Ends at once while somebody waits, else when somebody begins to.
    pub async fn awaited(&self) {
        if self.0.standing.receiver_count() == 0 {
            self.0.awaited.notified().await;
        }
    }

    /// Whether the log's ends of the start are known.
    pub fn is_aimed(&self) -> bool {
        self.0.standing.borrow().goal.is_some()
    }

    /// The log's ends when the view started; later calls change nothing.
    pub fn aim(&self, ends: BTreeMap<Partition, u64>) {
        self.0.standing.send_if_modified(|standing| {
            let first = standing.goal.is_none();
            standing.goal.get_or_insert(ends);
            first
        });
    }

    /// The store stands here, be it further back than was known.
    pub fn restore(&self, positions: impl Iterator<Item = (Partition, u64)>) {
        self.0.standing.send_modify(|standing| standing.next.extend(positions));
    }

    /// It has folded on to these positions.
    pub fn publish(&self, positions: impl Iterator<Item = (Partition, u64)>) {
        self.0.standing.send_modify(|standing| {
            standing.next.extend(positions);
            standing.state = ViewState::Live;
        });
    }

    /// Whether it has been at its store, and what it reflects is known.
    pub fn is_begun(&self) -> bool {
        self.0.standing.borrow().state != ViewState::Starting
    }

    pub fn set_state(&self, state: ViewState) {
        self.0.standing.send_if_modified(|standing| {
            let changed = standing.state != state;
            standing.state = state;
            changed
        });
    }

    pub fn set_parked(&self, keys: BTreeSet<ParkedKey>) {
        *self.0.parked.write() = Arc::new(keys);
    }
}

#[cfg(test)]
mod tests;
