//! Rows as digests: so that two sets of millions of rows can be compared without either being in memory.

use std::fmt::{self, Write as _};
use std::panic::resume_unwind;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use crate::pace::{Pace, Rests};
use crate::store::{Reflects, Store, StoreError};
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

/// How long a scan may rest in all: MongoDB keeps what it reads from for five minutes.
const SCAN_RESTS_MAX: Duration = Duration::from_secs(120);

/// Half of a SHA-256 over what a row says, by its key.
pub(crate) type Digests<V> = HashMap<<V as View>::Key, u128>;

/// The digests of those rows of a store that are `wanted`, and what they reflect.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn of_store<V: View, S: Store<V>>(
    store: &S,
    wanted: impl Fn(&V::Key) -> bool + Send + Sync,
    pace: Pace,
) -> Result<(Digests<V>, Reflects), StoreError> {
    let mut digests = Digests::<V>::new();
    let mut rests = Rests::at(pace).within(SCAN_RESTS_MAX);
    let mut add = |row: V| {
        rests.rest();
        let key = row.key();
        if wanted(&key) {
            digests.insert(key, of(&row));
        }
    };
    let reflects = store.scan(&mut add).await?;
    Ok((digests, reflects))
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
