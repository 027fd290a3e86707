//! The port to a store. An adapter knows rows and checkpoints, and no shop.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use eventlog::{Checkpoint, Partition};

use crate::generations::Generations;
use crate::parking::{Changes, Parking, Place};
pub use crate::stores::Placed;
use crate::view::View;

/// Keeps the rows and checkpoints of one view.
pub trait Store<V: View>: Clone + Send + Sync + 'static {
    /// Which kind of store it is.
    fn kind(&self) -> Kind;

    /// The checkpoints that were ever moved. Changes nothing.
    fn checkpoints(&self) -> impl Future<Output = Result<Checkpoints, StoreError>> + Send;

    /// Makes the checkpoint of each of the view's partitions if it is missing, and returns those that were ever moved.
    fn open(&self) -> impl Future<Output = Result<Checkpoints, StoreError>> + Send;

    /// Those of the rows called `keys` that exist, in any order. Keys are distinct.
    fn load(&self, keys: &[V::Key]) -> impl Future<Output = Result<Vec<V>, StoreError>> + Send;

    /// Writes rows and moves checkpoints, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::CheckpointMoved`] when a checkpoint is not where `commit` expects it, or an event that is to wait no
    /// longer does not wait; [`StoreError::Refused`] when the store refuses a row for what it says. Nothing was written
    /// then. After any other error it may have been written: committing again tells, by the first of these answers.
    fn commit(&self, commit: Commit<V>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives those rows to `visit` whose keys come after `after`, or all: at least the first `most` of them, as far as there are so
    /// many, in any order. Says what these rows reflect: everything as of one moment. After an error some may have been given.
    fn scan(
        &self,
        after: Option<&V::Key>,
        most: usize,
        visit: Visit<'_, V>,
    ) -> impl Future<Output = Result<Reflects, StoreError>> + Send;

    /// All rows, by key: for views that fit into memory, such as those of tests.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot<V>, StoreError>> + Send {
        async {
            let mut rows = BTreeMap::new();
            let mut add = |row: V| drop(rows.insert(row.key(), row));
            let reflects = self.scan(None, usize::MAX, &mut add).await?;
            Ok(Snapshot { rows, reflects })
        }
    }

    /// What is parked here.
    fn parking(&self) -> &dyn Parking;

    /// Which generation of the view it keeps.
    fn generation(&self) -> u32;

    /// The same with another generation.
    #[must_use]
    fn numbered(&self, generation: u32) -> Self;

    /// The generations of the view.
    fn generations(&self) -> &dyn Generations;
}

/// The kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// This process.
    Memory,
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    Mysql,
    /// MongoDB.
    Mongo,
}

/// Checkpoints by partition; a partition that was never folded has none.
pub type Checkpoints = BTreeMap<Partition, Checkpoint>;

/// What is written together. A key occurs once.
#[derive(Debug, Clone)]
pub struct Commit<V: View> {
    /// Rows as they are now.
    pub upserts: Vec<V>,
    /// Rows that are no more.
    pub deletes: Vec<V::Key>,
    /// Checkpoints of all partitions that were read.
    pub moves: Vec<Move>,
    /// What becomes of parked events.
    pub parking: Changes,
    /// Nobody waits for this: more of the log is waiting to be read, or readers do not see the generation.
    pub behind: bool,
}

/// Most rows of a batch that counts as fresh.
const FRESH_ROWS_MAX: usize = 512;

impl<V: View> Commit<V> {
    /// Whether readers see the generation, it is near the end of the log, and the batch small: then somebody may read what it shows right after, and a
    /// store that is killed must not come back with less. Of other batches rows and checkpoints may be lost together, which
    /// the log makes good: so they need not wait for the disk.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        !self.behind && self.upserts.len() + self.deletes.len() <= FRESH_ROWS_MAX
    }
}

/// One checkpoint's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Whose.
    pub partition: Partition,
    /// Where it stands: its `next`; 0 where it never moved.
    pub expected: u64,
    /// What it becomes.
    pub to: Checkpoint,
}

/// What is done with each row of a scan.
pub type Visit<'v, V> = &'v mut (dyn FnMut(V) + Send);

/// What the rows of a store reflect.
#[derive(Debug, Clone)]
pub struct Reflects {
    /// Everything before these positions, but for the events that are parked.
    pub checkpoints: Checkpoints,
    /// Where these stand.
    pub parked: BTreeSet<Place>,
}

/// A store's content as of one moment.
#[derive(Debug, Clone)]
pub struct Snapshot<V: View> {
    /// By key.
    pub rows: BTreeMap<V::Key, V>,
    /// What they reflect.
    pub reflects: Reflects,
}

/// What a finder found, with what it reflects, read by one statement or at one moment: of a store that a failover moved back
/// it cannot say more than is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf<T> {
    /// What was found.
    pub found: T,
    /// Of each partition that it could come from, the offset after the last record that is folded into it.
    pub next: Vec<(Partition, u64)>,
}

impl<T> AsOf<T> {
    /// The same moment, with what `change` makes of what was found.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> AsOf<U> {
        AsOf { found: change(self.found), next: self.next }
    }
}

/// Whatever a database says.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a store did not do it. Only [`Self::CheckpointMoved`] and [`Self::Refused`] are certain to have changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another projector moved a checkpoint.
    #[error("another projector of {view} moved its checkpoints")]
    CheckpointMoved {
        /// Whose.
        view: &'static str,
    },
    /// The store refuses a row for what it says: the same row will not do another time.
    #[error("{view} refuses a row")]
    Refused {
        /// Which view.
        view: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// The address of a store is not one.
    #[error("the address of {store} cannot be used")]
    Address {
        /// Which.
        store: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// Checkpoints could not be read or made.
    #[error("reading the checkpoints of {view} failed")]
    Open {
        /// Whose.
        view: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// Rows could not be read.
    #[error("reading rows of {view} failed")]
    Load {
        /// Which view.
        view: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// Writing failed, or is not known to have succeeded.
    #[error("writing {view} failed")]
    Commit {
        /// Which view.
        view: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// What is parked could not be read, or a wish of operators not be written.
    #[error("what is parked of {view} could not be read or changed")]
    Parking {
        /// Which view.
        view: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// What generations there are could not be read or changed.
    #[error("the generations of {view} could not be read or changed")]
    Generations {
        /// Whose.
        view: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
    /// The store did not answer in time.
    #[error("{doing} took longer than {seconds} s")]
    Timeout {
        /// What was attempted.
        doing: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// Tables, collections or indexes could not be made or inspected.
    #[error("{doing} of {store} failed")]
    Layout {
        /// What was attempted.
        doing: &'static str,
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        source: Source,
    },
}
