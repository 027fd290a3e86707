//! Whether a store holds what the log says: its rows against an independent fold, row for row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, LogError, Partition, Tail, TailError};
use foldhash::{HashMap, HashMapExt};
use schemas::{Codec, CodecError};
use serde::Serialize;

use crate::digest::{self, Digests, Parts};
use crate::generations::{Notes, Scope, notes_of};
use crate::pace::Rests;
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
/// Rows that are compared in the time of one record that is folded.
const LIGHT: usize = 4;
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

/// Compares one view's store with the fold of `log` up to the store's own checkpoints. One that is folded
/// at a rate is compared at one.
///
/// # Errors
/// When store or log cannot be read.
pub async fn verify_one<V: View, S: Store<V>>(
    store: &S,
    log: Arc<dyn EventLog>,
    codec: Arc<Codec>,
) -> Result<Report, VerifyError> {
    let failed = |source| VerifyError::Store { view: V::NAME, source };
    let Notes { scope, pace, .. } = notes_of(store).await.map_err(failed)?;
    let scanned = store.clone();
    let scan = async move { digest::of_store(&scanned, |_| true, pace).await };
    let (stored, parts) = digest::apart(scan).await.map_err(failed)?;
    let resolutions = store.parking().parked().await.map_err(failed)?.resolutions;
    let exceptions = Exceptions { parked: parts.parked(), resolutions, scope };
    let (rows, parked) = (stored.len(), exceptions.parked.len());
    let records = parts.until().values().sum();
    let rests = Rests::at(pace);
    let fold = move || against_log(stored, &parts, &*log, &codec, &exceptions, rests);
    let folding = tokio::task::spawn_blocking(fold);
    let found = folding.await.map_err(|source| VerifyError::Fold { view: V::NAME, source })??;
    let keys: Vec<V::Key> = found.shown.keys().cloned().collect();
    let loaded = store.load(&keys).await.map_err(failed)?;
    let stored: BTreeMap<V::Key, V> = loaded.into_iter().map(|row| (row.key(), row)).collect();
    let difference = |(key, folded): (V::Key, Option<V>)| Difference {
        key: format!("{key:?}"),
        stored: json(stored.get(&key)),
        folded: json(folded.as_ref()),
    };
    let shown = found.shown.into_iter().map(difference).collect();
    Ok(Report { view: V::NAME, rows, records, parked, differences: found.count, shown })
}

/// Rows that differ.
struct Found<V: View> {
    count: usize,
    /// The first that were met, each as it should be.
    shown: BTreeMap<V::Key, Option<V>>,
}

/// Compares rows with what the log makes of them, one partition after the other: all events of a row stand in one, so only
/// that one's rows are in memory.
fn against_log<V: View>(
    mut stored: Digests<V>,
    parts: &Parts<V>,
    log: &dyn EventLog,
    codec: &Codec,
    exceptions: &Exceptions,
    mut rests: Rests,
) -> Result<Found<V>, VerifyError> {
    let mut found = Found { count: 0, shown: BTreeMap::new() };
    let mut differs = |key: V::Key, folded: Option<V>| {
        found.count += 1;
        if found.shown.len() < SHOWN {
            found.shown.insert(key, folded);
        }
    };
    for (partition, checkpoint) in &parts.checkpoints {
        checkpoint.verify(log, *partition).map_err(|source| VerifyError::Log { view: V::NAME, source })?;
    }
    let shows = |key: &V::Key, place: &Place| parts.shows(key, place);
    for (partition, until) in parts.until() {
        let until = BTreeMap::from([(partition, until)]);
        let folded = fold_all::<V>(log, codec, &until, exceptions, shows, &mut rests)?;
        for (number, (key, row)) in folded.into_iter().enumerate() {
            rests.rest(usize::from(number % LIGHT == 0));
            if stored.remove(&key) != Some(digest::of(&row)) {
                differs(key, Some(row));
            }
        }
    }
    stored.into_keys().for_each(|key| differs(key, None));
    Ok(found)
}

fn json<V: View>(row: Option<&V>) -> Option<serde_json::Value> {
    row.map(|row| serde_json::to_value(row).unwrap_or_else(|error| error.to_string().into()))
}

/// Records that a view does not fold as they stand in the log.
#[derive(Debug, Default)]
pub struct Exceptions {
    /// Events that wait, or waited a moment ago: so they need not be readable.
    pub parked: BTreeSet<Place>,
    /// What operators decided of others.
    pub resolutions: BTreeMap<Place, Resolution>,
    /// Those before its beginning.
    pub scope: Scope,
}

/// The rows that the log makes of `V`: the plain fold, record by record, of each partition up to the offset given, of those
/// events that a row `shows`.
///
/// # Errors
/// When the log cannot be read.
pub fn fold_all<V: View>(
    log: &dyn EventLog,
    codec: &Codec,
    until: &BTreeMap<Partition, u64>,
    exceptions: &Exceptions,
    shows: impl Fn(&V::Key, &Place) -> bool,
    rests: &mut Rests,
) -> Result<HashMap<V::Key, V>, VerifyError> {
    let failed = |source| VerifyError::Log { view: V::NAME, source };
    let partitions: Vec<_> = until.keys().map(|partition| (*partition, None)).collect();
    let mut tail = Tail::open(log, &partitions).map_err(failed)?;
    let mut rows = HashMap::new();
    let mut empty = 0;
    while until.iter().any(|(partition, end)| tail.next(*partition) < *end) {
        let before = tail.checkpoints();
        for mut admitted in tail.poll(rests.batch_events(POLL_RECORDS), POLL).map_err(failed)? {
            rests.rest(1);
            let place @ (partition, offset) = (admitted.partition, admitted.offset);
            if offset >= until[&partition] || exceptions.scope.leaves_out(&admitted) {
                continue;
            }
            match exceptions.resolutions.get(&place).map(|resolution| &resolution.verdict) {
                Some(Verdict::Discard) => continue,
                Some(Verdict::Correct(payload)) => admitted.record.payload = payload.clone(),
                None => {}
            }
            let event = match V::decode(codec, &admitted) {
                Ok(event) => event,
                Err(_) if exceptions.parked.contains(&place) => continue,
                Err(source) => return Err(VerifyError::Record { partition, offset, source: Box::new(source) }),
            };
            let Some(event) = event else { continue };
            let key = V::key_of(&event);
            if shows(&key, &place) {
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
