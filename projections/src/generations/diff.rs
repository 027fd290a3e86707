//! What is different between two generations of a view.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use crate::store::{Snapshot, Store, StoreError};
use crate::view::View;

/// How often rows that differ are looked at again: the generations do not stand at the same place while events come in.
const LOOKS: usize = 5;
/// How long between two looks.
const BETWEEN: Duration = Duration::from_millis(300);

/// What is different.
#[derive(Debug, Clone, Serialize)]
pub struct Diff {
    /// Whose.
    pub view: &'static str,
    /// The one that is compared with, as a rule the live one.
    pub from: u32,
    /// The other.
    pub to: u32,
    /// Rows of both that are the same.
    pub same: u64,
    /// Rows that only the other has.
    pub added: u64,
    /// Rows that the other lacks.
    pub removed: u64,
    /// Rows that are not the same.
    pub changed: u64,
    /// Some of them.
    pub samples: Vec<Change>,
}

/// A row that is different.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Which.
    pub key: String,
    /// As it is in the one.
    pub from: Option<serde_json::Value>,
    /// As it is in the other.
    pub to: Option<serde_json::Value>,
}

/// Compares all rows of two generations. A row counts as different when it was so at each of several looks.
///
/// # Errors
/// When the store cannot be read.
pub async fn compare<V: View, S: Store<V>>(from: &S, to: &S, samples: usize) -> Result<Diff, StoreError> {
    let (Snapshot { rows: old, .. }, Snapshot { rows: new, .. }) = (from.snapshot().await?, to.snapshot().await?);
    let keys: BTreeSet<&V::Key> = old.keys().chain(new.keys()).collect();
    let mut different: Vec<V::Key> =
        keys.iter().filter(|key| old.get(key) != new.get(key)).map(|key| V::Key::clone(key)).collect();
    let total = keys.len() as u64;
    let mut rows = (old, new);
    for _ in 0..LOOKS {
        if different.is_empty() {
            break;
        }
        sleep(BETWEEN).await;
        rows = (of(from, &different).await?, of(to, &different).await?);
        different.retain(|key| rows.0.get(key) != rows.1.get(key));
    }
    let mut diff = Diff {
        view: V::NAME,
        from: from.generation(),
        to: to.generation(),
        same: total - different.len() as u64,
        added: 0,
        removed: 0,
        changed: 0,
        samples: Vec::new(),
    };
    for key in &different {
        let (old, new) = (rows.0.get(key), rows.1.get(key));
        *match (old, new) {
            (None, _) => &mut diff.added,
            (_, None) => &mut diff.removed,
            _ => &mut diff.changed,
        } += 1;
        if diff.samples.len() < samples {
            diff.samples.push(Change { key: format!("{key:?}"), from: json(old), to: json(new) });
        }
    }
    Ok(diff)
}

async fn of<V: View, S: Store<V>>(store: &S, keys: &[V::Key]) -> Result<BTreeMap<V::Key, V>, StoreError> {
    Ok(store.load(keys).await?.into_iter().map(|row| (row.key(), row)).collect())
}

fn json<V: View>(row: Option<&V>) -> Option<serde_json::Value> {
    row.map(|row| serde_json::to_value(row).unwrap_or_else(|error| error.to_string().into()))
}
