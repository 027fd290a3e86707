//! Whether a store holds what the log says: its rows against an independent fold, row for row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, LogError, Partition, Tail, TailError};
use schemas::{Codec, CodecError};
use serde::Serialize;

use crate::parking::{Place, Resolution, Verdict};
use crate::store::{Store, StoreError};
use crate::view::View;
use crate::views::{ToEach, Views};

/// How many differences a report shows; it counts all.
const SHOWN: usize = 20;
/// Records of one poll.
const POLL_RECORDS: usize = 5_000;
/// How long a poll waits; records that were there once are there.
const POLL: Duration = Duration::from_secs(1);
/// Polls without any progress after which the log counts as not answering.
const EMPTY_POLLS: usize = 30;

/// What the comparison of one view found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which view.
    pub view: &'static str,
    /// Rows in the store.
    pub rows: usize,
    /// Records before the store's checkpoints.
    pub records: u64,
    /// Events that wait and are not in the rows.
    pub parked: usize,
    /// Rows that differ.
    pub differences: usize,
    /// The first of them.
    pub shown: Vec<Difference>,
}

/// A row that is not what the log says.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Which row.
    pub key: String,
    /// As it is in the store.
    pub stored: Option<serde_json::Value>,
    /// As it should be.
    pub folded: Option<serde_json::Value>,
}

/// Why no comparison was made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store could not be read.
    #[error("reading the store of {view} failed")]
    Store {
        /// Which view.
        view: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The log could not be read, or is not the one that was folded.
    #[error("reading the log of {view} failed")]
    Log {
        /// Which view.
        view: &'static str,
        /// Why.
        #[source]
        source: TailError,
    },
    /// A record cannot be read.
    #[error("the record at {partition}@{offset} cannot be read")]
    Record {
        /// Where.
        partition: Partition,
        /// At which offset.
        offset: u64,
        /// Why.
        #[source]
        source: Box<CodecError>,
    },
    /// The fold failed otherwise.
    #[error("folding {view} failed")]
    Fold {
        /// Which view.
        view: &'static str,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
}

/// Compares each view's store with the fold of `log` up to the store's own checkpoints.
///
/// # Errors
/// When store or log cannot be read.
pub async fn verify(views: &Views, log: Arc<dyn EventLog>, codec: Arc<Codec>) -> Result<Vec<Report>, VerifyError> {
    views.each(&Verify { log, codec }).await.into_iter().collect()
}

/// Compares one view's store with the fold of `log` up to the store's own checkpoints.
///
/// # Errors
/// When store or log cannot be read.
pub async fn verify_one<V: View, S: Store<V>>(
    store: &S,
    log: Arc<dyn EventLog>,
    codec: Arc<Codec>,
) -> Result<Report, VerifyError> {
    let snapshot = store.snapshot().await.map_err(|source| VerifyError::Store { view: V::NAME, source })?;
    // Opening at the checkpoints tells whether this is the log that was folded.
    let from: Vec<_> =
        snapshot.checkpoints.iter().map(|(partition, checkpoint)| (*partition, Some(*checkpoint))).collect();
    let until = snapshot.checkpoints.iter().map(|(partition, checkpoint)| (*partition, checkpoint.next)).collect();
    let records = snapshot.checkpoints.values().map(|checkpoint| checkpoint.next).sum();
    let parked = store.parking().parked().await.map_err(|source| VerifyError::Store { view: V::NAME, source })?;
    let (waiting, exceptions) =
        (snapshot.parked.len(), Exceptions { parked: snapshot.parked, resolutions: parked.resolutions });
    let folding = tokio::task::spawn_blocking(move || {
        Tail::open(&*log, &from).map_err(|source| VerifyError::Log { view: V::NAME, source })?;
        fold_all::<V>(&*log, &codec, &until, &exceptions)
    });
    let folded = folding.await.map_err(|source| VerifyError::Fold { view: V::NAME, source })??;
    Ok(Report { parked: waiting, ..compare(&snapshot.rows, &folded, records) })
}

/// Records that a view does not fold as they stand in the log.
#[derive(Debug, Default)]
pub struct Exceptions {
    /// Events that wait.
    pub parked: BTreeSet<Place>,
    /// What operators decided of others.
    pub resolutions: BTreeMap<Place, Resolution>,
}

/// The rows that the log makes of `V`: the plain fold, record by record, of each partition up to the offset given.
///
/// # Errors
/// When the log cannot be read.
pub fn fold_all<V: View>(
    log: &dyn EventLog,
    codec: &Codec,
    until: &BTreeMap<Partition, u64>,
    exceptions: &Exceptions,
) -> Result<BTreeMap<V::Key, V>, VerifyError> {
    let failed = |source| VerifyError::Log { view: V::NAME, source };
    let partitions: Vec<_> = until.keys().map(|partition| (*partition, None)).collect();
    let mut tail = Tail::open(log, &partitions).map_err(failed)?;
    let mut rows = BTreeMap::new();
    let mut empty = 0;
    while until.iter().any(|(partition, end)| tail.next(*partition) < *end) {
        let before = tail.checkpoints();
        for mut admitted in tail.poll(POLL_RECORDS, POLL).map_err(failed)? {
            let (partition, offset) = (admitted.partition, admitted.offset);
            if offset >= until[&partition] || exceptions.parked.contains(&(partition, offset)) {
                continue;
            }
            match exceptions.resolutions.get(&(partition, offset)).map(|resolution| &resolution.verdict) {
                Some(Verdict::Discard) => continue,
                Some(Verdict::Correct(payload)) => admitted.record.payload = payload.clone(),
                None => {}
            }
            let event = V::decode(codec, &admitted);
            let failed = |source| VerifyError::Record { partition, offset, source: Box::new(source) };
            let event = event.map_err(failed)?;
            if let Some(event) = event {
                let key = V::key_of(&event);
                let row = V::fold(rows.remove(&key), &event);
                rows.extend(row.map(|row| (key, row)));
            }
        }
        empty = if tail.checkpoints() == before { empty + 1 } else { 0 };
        if empty > EMPTY_POLLS {
            let doing = format!("reading up to {until:?}");
            return Err(failed(LogError::Unavailable { doing, detail: "nothing arrives".to_owned() }.into()));
        }
    }
    Ok(rows)
}

fn compare<V: View>(stored: &BTreeMap<V::Key, V>, folded: &BTreeMap<V::Key, V>, records: u64) -> Report {
    let mut keys: Vec<_> = stored.keys().chain(folded.keys().filter(|key| !stored.contains_key(key))).collect();
    keys.retain(|key| stored.get(key) != folded.get(key));
    let json =
        |row: Option<&V>| row.map(|row| serde_json::to_value(row).unwrap_or_else(|error| error.to_string().into()));
    let difference = |key: &&V::Key| Difference {
        key: format!("{key:?}"),
        stored: json(stored.get(key)),
        folded: json(folded.get(key)),
    };
    Report {
        view: V::NAME,
        rows: stored.len(),
        records,
        parked: 0,
        differences: keys.len(),
        shown: keys.iter().take(SHOWN).map(difference).collect(),
    }
}

struct Verify {
    log: Arc<dyn EventLog>,
    codec: Arc<Codec>,
}

impl ToEach for Verify {
    type Outcome = Result<Report, VerifyError>;

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> Self::Outcome {
        verify_one(store, Arc::clone(&self.log), Arc::clone(&self.codec)).await
    }
}

/// The rows of each view by its name, in the order of their keys, as JSON.
///
/// # Errors
/// When a store cannot be read.
pub async fn dump(views: &Views) -> Result<BTreeMap<&'static str, Vec<serde_json::Value>>, VerifyError> {
    views.each(&Dump).await.into_iter().collect()
}

struct Dump;

impl ToEach for Dump {
    type Outcome = Result<(&'static str, Vec<serde_json::Value>), VerifyError>;

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> Self::Outcome {
        let snapshot = store.snapshot().await.map_err(|source| VerifyError::Store { view: V::NAME, source })?;
        let json = |row: &V| serde_json::to_value(row).unwrap_or_else(|error| error.to_string().into());
        Ok((V::NAME, snapshot.rows.values().map(json).collect()))
    }
}
