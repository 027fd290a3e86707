//! Events that cannot be applied, and those that queue behind them.
//!
//! An event that cannot be read, whose fold panics, or whose row the store refuses is **parked** with its reason and its
//! bytes in the view's own store, in the transaction that moves the checkpoint past it. Later events of its aggregate
//! queue behind it, so that their order is kept; every other key goes on. (The idea of parking a whole sequence is Axon's
//! sequenced dead-letter queue.) Operators decide what becomes of it: try again, put another payload in its place, or
//! discard it. What they decided of a record is a [`Resolution`]: it is remembered by the record's position, for every
//! generation of the view, so that a rebuild comes out the same.
//!
//! The projector is the only one who writes rows: a decision is a wish in the store, which the projector carries out.

mod rows;

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::Timestamp;
use eventlog::{Admitted, Partition, Record};
use futures::future::BoxFuture;
use schemas::{Envelope, EnvelopeError};
use serde::{Deserialize, Serialize};

use crate::generations::now;
use crate::store::StoreError;

pub(crate) use self::rows::{KeyRow, OddRow, ParkedRow, ResolutionRow, place};

/// Most aggregates of one view whose events are parked at a time. A view with more has another problem than some events:
/// it waits until operators have made room.
pub const KEYS_MAX: u64 = 1_000;
/// Most parked events of one view, likewise.
pub const EVENTS_MAX: u64 = 100_000;

/// Where a record stands.
pub type Place = (Partition, u64);

/// An aggregate whose events are parked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParkedKey {
    /// Where its events stand.
    pub partition: Partition,
    /// The key of its records.
    pub key: Bytes,
}

/// What is parked of one aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// How many events.
    pub events: u64,
    /// Operators want it tried again.
    pub wanted: bool,
}

/// Why an event is parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// It cannot be read.
    Unreadable {
        /// What the codec said.
        detail: String,
    },
    /// The view's fold panicked.
    FoldPanicked {
        /// With what.
        detail: String,
    },
    /// The store refuses the row that came of it.
    Refused {
        /// What the store said.
        detail: String,
    },
    /// An earlier event of its aggregate is parked.
    Behind,
}

impl Cause {
    /// Its name.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::FoldPanicked { .. } => "fold_panicked",
            Self::Refused { .. } => "refused",
            Self::Behind => "behind",
        }
    }

    /// What was said; nothing for an event that only queues.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Unreadable { detail } | Self::FoldPanicked { detail } | Self::Refused { detail } => detail,
            Self::Behind => "",
        }
    }
}

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Where its record stands.
    pub place: Place,
    /// When the log appended it.
    pub timestamp: Timestamp,
    /// The record.
    pub record: Record,
    /// Why it waits, as of the last attempt.
    pub cause: Cause,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was tried last.
    pub tried_at: Timestamp,
}

impl ParkedEvent {
    /// Parks `admitted` now. An event that only queues was not tried.
    #[must_use]
    pub fn of(admitted: &Admitted, cause: Cause) -> Self {
        let now = now();
        Self {
            place: (admitted.partition, admitted.offset),
            timestamp: admitted.timestamp,
            record: admitted.record.clone(),
            attempts: u32::from(cause != Cause::Behind),
            cause,
            parked_at: now,
            tried_at: now,
        }
    }

    /// Whose event it is.
    #[must_use]
    pub fn parked_key(&self) -> ParkedKey {
        ParkedKey { partition: self.place.0, key: self.record.key.clone() }
    }

    /// The headers of its record.
    ///
    /// # Errors
    /// Never for an event that a projector parked: its record counted.
    pub fn envelope(&self) -> Result<Envelope, EnvelopeError> {
        Envelope::from_headers(&self.record.headers)
    }

    /// The record as it was read.
    ///
    /// # Errors
    /// See [`Self::envelope`].
    pub(crate) fn admitted(&self) -> Result<Admitted, EnvelopeError> {
        let (partition, offset) = self.place;
        let record = self.record.clone();
        let envelope = self.envelope()?.into();
        Ok(Admitted { partition, offset, timestamp: self.timestamp, envelope, record, event: None })
    }

    /// It was tried again in vain.
    pub(crate) fn failed(self, cause: Cause) -> Self {
        Self { cause, attempts: self.attempts + 1, tried_at: now(), ..self }
    }
}

/// What operators decided of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Which record.
    pub place: Place,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Who says so.
    pub operator: String,
    /// When it was decided.
    pub at: Timestamp,
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The view leaves it out.
    Discard,
    /// The view reads this payload instead. The log stays as it is.
    Correct(Bytes),
}

/// All that a store has parked of a view, without the events.
#[derive(Debug, Clone, Default)]
pub struct Parked {
    /// By aggregate.
    pub keys: BTreeMap<ParkedKey, Queue>,
    /// What operators decided, by record.
    pub resolutions: BTreeMap<Place, Resolution>,
}

impl Parked {
    /// Counts an event that waits now.
    pub(crate) fn add(&mut self, event: &ParkedEvent) {
        self.keys.entry(event.parked_key()).or_insert(Queue { events: 0, wanted: false }).events += 1;
    }
}

/// Wishes of operators, all or none.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Aggregates whose events are to be tried again.
    pub retry: Vec<ParkedKey>,
    /// What is to become of records.
    pub resolve: Vec<Resolution>,
}

/// What a commit changes of what is parked.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// These wait now, or wait on for another reason.
    pub park: Vec<ParkedEvent>,
    /// These wait no longer. All of them must have waited.
    pub done: Vec<Place>,
    /// These were tried again.
    pub answered: Vec<ParkedKey>,
}

impl Changes {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.park.is_empty() && self.done.is_empty() && self.answered.is_empty()
    }
}

/// What a store has parked of one view and generation.
pub trait Parking: Send + Sync {
    /// Everything but the events.
    fn parked(&self) -> BoxFuture<'_, Result<Parked, StoreError>>;

    /// The first `limit` parked events, of one aggregate or of all, in the log's order per partition.
    fn events<'s>(
        &'s self,
        of: Option<&'s ParkedKey>,
        limit: usize,
    ) -> BoxFuture<'s, Result<Vec<ParkedEvent>, StoreError>>;

    /// Whether operators want anything tried again.
    fn is_wanted(&self) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Remembers wishes.
    fn wish(&self, wishes: Wishes) -> BoxFuture<'_, Result<(), StoreError>>;
}
