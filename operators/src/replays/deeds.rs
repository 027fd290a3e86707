//! What is done to the view of a name, whatever its row and store.

use std::sync::Arc;

use eventlog::{EventLog, Partition};
use projections::StoreError;
use projections::generations::{Diff, Generations, Scope, compare};
use projections::store::{Checkpoints, Store};
use projections::verify::{Report, VerifyError, verify_one};
use projections::view::View;
use projections::views::ToEach;
use schemas::Codec;

use crate::problem::{Problem, VIEW_NOT_FOUND};
use crate::server::Shared;

pub(super) fn generations<'o>(operators: &'o Shared, view: &str) -> Result<&'o dyn Generations, Problem> {
    operators.views.generations(view).ok_or_else(|| Problem::new(&VIEW_NOT_FOUND, view))
}

/// Compares two generations.
pub(super) struct Compare {
    pub view: &'static str,
    pub from: u32,
    pub to: u32,
    pub samples: usize,
}

impl ToEach for Compare {
    type Outcome = Option<Result<Diff, StoreError>>;

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> Self::Outcome {
        if V::NAME != self.view {
            return None;
        }
        Some(compare(&store.numbered(self.from), &store.numbered(self.to), self.samples).await)
    }
}

/// Compares a generation with the log.
pub(super) struct Verify {
    pub view: &'static str,
    pub generation: u32,
    pub log: Arc<dyn EventLog>,
    pub codec: Arc<Codec>,
}

impl ToEach for Verify {
    type Outcome = Option<Result<Report, VerifyError>>;

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> Self::Outcome {
        if V::NAME != self.view {
            return None;
        }
        let store = store.numbered(self.generation);
        Some(verify_one(&store, Arc::clone(&self.log), Arc::clone(&self.codec)).await)
    }
}

/// How far a generation has come, and how far it is to go.
pub(super) struct Reached<'s> {
    pub view: &'static str,
    pub generation: u32,
    pub scope: &'s Scope,
}

impl ToEach for Reached<'_> {
    type Outcome = Option<Result<(Vec<Partition>, Checkpoints), StoreError>>;

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> Self::Outcome {
        if V::NAME != self.view {
            return None;
        }
        let reached = store.numbered(self.generation).checkpoints().await;
        Some(reached.map(|checkpoints| (self.scope.partitions::<V>(), checkpoints)))
    }
}

/// What of the log a view can be folded from.
pub(super) struct Foldable {
    pub view: &'static str,
}

impl ToEach for Foldable {
    /// Its partitions, and whether each row is made by one record.
    type Outcome = Option<(Vec<Partition>, bool)>;

    async fn to<V: View, S: Store<V>>(&self, _: &S) -> Self::Outcome {
        (V::NAME == self.view).then(|| (V::partitions(), V::ROWS_OF_ONE_RECORD))
    }
}
