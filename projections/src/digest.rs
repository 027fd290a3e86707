//! Rows as digests: so that two sets of millions of rows can be compared without either being in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::panic::resume_unwind;

use eventlog::Partition;
use foldhash::{HashMap, HashMapExt};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::pace::{Pace, Rests};
use crate::parking::Place;
use crate::store::{Checkpoints, Reflects, Store, StoreError};
use crate::view::View;

/// Runs `work`, which computes for long between its waits, on a thread of its own: on one of those that serve requests it would
/// keep them waiting.
pub(crate) async fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = Handle::current();
    match spawn_blocking(move || runtime.block_on(work)).await {
        Ok(done) => done,
        Err(error) => resume_unwind(error.into_panic()),
    }
}

/// Rows that are read at one moment. For as long as a store keeps a moment, it keeps every version of what changes meanwhile:
/// checkpoints, which change with every batch, then take ever longer to find (PostgreSQL, MySQL), and MongoDB gives up after
/// five minutes.
const PART_ROWS: usize = 500;

/// Half of a SHA-256 over what a row says, by its key.
pub(crate) type Digests<V> = HashMap<<V as View>::Key, u128>;

/// What the rows of a store reflect that were read in parts, each at a moment of its own.
pub(crate) struct Parts<V: View> {
    /// Of each part but the last, which has no end.
    ends: Vec<V::Key>,
    parts: Vec<Part>,
    /// The checkpoints of the last one.
    pub checkpoints: Checkpoints,
}

struct Part {
    next: BTreeMap<Partition, u64>,
    parked: BTreeSet<Place>,
}

impl<V: View> Parts<V> {
    /// Whether the row called `key` shows the event that stands there, if there is such a row.
    pub fn shows(&self, key: &V::Key, (partition, offset): &Place) -> bool {
        let part = &self.parts[self.ends.partition_point(|end| end < key)];
        part.next.get(partition).is_some_and(|next| offset < next) && !part.parked.contains(&(*partition, *offset))
    }

    /// Before which offset of each partition all events stand that any row shows.
    pub fn until(&self) -> BTreeMap<Partition, u64> {
        let mut until = BTreeMap::new();
        for (partition, next) in self.parts.iter().flat_map(|part| &part.next) {
            let latest = until.entry(*partition).or_insert(*next);
            *latest = (*latest).max(*next);
        }
        until
    }

    /// Events that some part waits for.
    pub fn parked(&self) -> BTreeSet<Place> {
        self.parts.iter().flat_map(|part| part.parked.iter().copied()).collect()
    }
}

/// The digests of those rows of a store that are `wanted`, and what they reflect.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn of_store<V: View, S: Store<V>>(
    store: &S,
    wanted: impl Fn(&V::Key) -> bool + Send + Sync,
    pace: Pace,
) -> Result<(Digests<V>, Parts<V>), StoreError> {
    let mut digests = Digests::<V>::new();
    let mut rests = Rests::at(pace);
    let most = rests.part_rows(PART_ROWS);
    let (mut ends, mut parts): (Vec<V::Key>, _) = (Vec::new(), Vec::new());
    loop {
        let (mut rows, mut last) = (0, None);
        let mut add = |row: V| {
            let key = row.key();
            // Here, and not after all of them, for which others would wait at once.
            rests.rest(1);
            rows += 1;
            if last.as_ref().is_none_or(|last| *last < key) {
                last = Some(key.clone());
            }
            if wanted(&key) {
                digests.insert(key, of(&row));
            }
        };
        let Reflects { checkpoints, parked } = store.scan(ends.last(), most, &mut add).await?;
        let next = checkpoints.iter().map(|(partition, checkpoint)| (*partition, checkpoint.next)).collect();
        parts.push(Part { next, parked });
        match last {
            Some(last) if rows >= most => ends.push(last),
            _ => return Ok((digests, Parts { ends, parts, checkpoints })),
        }
    }
}

/// The digest of a row.
pub(crate) fn of<V: View>(row: &V) -> u128 {
    let mut digest = Text(Sha256::new());
    // What tells rows apart in equality is also in their debug text. Writing to a digest does not fail.
    let _ = write!(digest, "{row:?}");
    digest.0.finalize().iter().take(16).fold(0, |all, byte| all << 8 | u128::from(*byte))
}

struct Text(Sha256);

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}
