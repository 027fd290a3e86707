//! Generations of a view: the live one, which readers see, and others that are built beside it, in tables of their own.
//!
//! A replay makes a new generation and folds the log into it from its start. When it has caught up, it can be verified
//! against the log, compared with the live one, and promoted by moving one pointer; the former one goes on being folded, so
//! that the pointer can be moved back, until it is retired. Readers never see a half-built view. What is wished stands in
//! the view's own store: whatever process folds the view carries it out, and finds it again after a crash. (Blue/green
//! rebuilds as in Marten 7's and Ecotone's projections.)

mod diff;
mod scope;
mod supervisor;

use domain::Timestamp;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::pace::Pace;
use crate::store::{Store, StoreError};
use crate::view::View;

pub use self::diff::{Change, Diff, compare};
pub use self::scope::{Begin, Scope};
pub(crate) use self::supervisor::Supervisor;

/// A generation, as its view's store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Its number.
    pub number: u32,
    /// Readers see it.
    pub live: bool,
    /// What is wished and known of it.
    pub notes: Notes,
}

/// What is wished and known of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Notes {
    /// When its replay began, in milliseconds since 1970; nothing for the first one.
    pub started_at: Option<i64>,
    /// Who began it, and why.
    pub operator: String,
    /// See above.
    pub reason: String,
    /// How fast it is folded until it is live.
    #[serde(default)]
    pub pace: Pace,
    /// Which part of the log it is folded from.
    #[serde(default)]
    pub scope: Scope,
    /// It is not folded for the time being: since when.
    pub paused_at: Option<i64>,
    /// How long it was paused before, in milliseconds.
    pub paused_ms: i64,
    /// It was live once.
    pub was_live: bool,
    /// Its rows are gone.
    pub retired: bool,
    /// It was compared with an independent fold of the log.
    pub verified: Option<Verified>,
    /// Why the last comparison came to nothing.
    pub trouble: Option<String>,
}

/// What a comparison with the log said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When.
    pub at: i64,
    /// Rows that were compared.
    pub rows: u64,
    /// Records that they were made of.
    pub records: u64,
    /// Rows that differed.
    pub differences: u64,
}

impl Generation {
    /// The one that migrations made, of which nobody has noted anything.
    #[must_use]
    pub fn first(number: u32) -> Self {
        Self { number, live: true, notes: Notes::default() }
    }

    /// Whether it is to be folded.
    #[must_use]
    pub fn is_folded(&self) -> bool {
        self.notes.paused_at.is_none() && !self.notes.retired
    }
}

/// When something is noted: by the system's clock.
#[must_use]
pub fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// What is noted of the generation that `store` keeps.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn notes_of<V: View, S: Store<V>>(store: &S) -> Result<Notes, StoreError> {
    let all = store.generations().list().await?;
    let own = all.into_iter().find(|generation| generation.number == store.generation());
    Ok(own.map(|generation| generation.notes).unwrap_or_default())
}

/// The generations of one view in its store.
pub trait Generations: Send + Sync {
    /// All of them, also those that are retired, by number.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Generation>, StoreError>>;

    /// Makes a new one, empty, with a number that none had before.
    fn create(&self, notes: Notes) -> BoxFuture<'_, Result<u32, StoreError>>;

    /// Notes something about one.
    fn note(&self, number: u32, notes: Notes) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Moves the pointer from one to another, if it is there and the other has folded at least as much of every partition.
    /// False when that is not so; nothing changed then.
    fn promote(&self, from: u32, to: u32) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Deletes rows, checkpoints and parked events of one that is not live. What was noted stays.
    fn clear(&self, number: u32) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// What a store has noted, with the first one, of which nothing need be noted.
pub(crate) fn listed(first: u32, live: Option<u32>, noted: Vec<(u32, Notes)>) -> Vec<Generation> {
    let live = live.unwrap_or(first);
    let mut all: Vec<Generation> =
        noted.into_iter().map(|(number, notes)| Generation { number, live: number == live, notes }).collect();
    if !all.iter().any(|generation| generation.number == first) {
        all.push(Generation { live: first == live, ..Generation::first(first) });
    }
    all.sort_by_key(|generation| generation.number);
    all
}

/// A number that none of `all` has or had.
pub(crate) fn next_number(all: &[Generation]) -> u32 {
    all.iter().map(|generation| generation.number).max().unwrap_or(0) + 1
}
