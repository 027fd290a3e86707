//! What is different between two generations of a view.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::{Notes, notes_of};
use crate::digest;
use crate::store::{Store, StoreError};
use crate::view::View;

/// How often rows that differ are looked at again: the generations do not stand at the same place while events come in.
const LOOKS: usize = 5;
/// Most rows that are looked at again.
const LOOKED_AT_MAX: usize = 10_000;
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

/// Compares all rows of two generations, or those that the other one folds where that is a part. A row counts as different when it
/// was so at each of several looks.
///
/// # Errors
/// When the store cannot be read.
pub async fn compare<V: View, S: Store<V>>(from: &S, to: &S, samples: usize) -> Result<Diff, StoreError> {
    let (from, to) = (from.clone(), to.clone());
    digest::apart(async move { compare_here(&from, &to, samples).await }).await
}

async fn compare_here<V: View, S: Store<V>>(from: &S, to: &S, samples: usize) -> Result<Diff, StoreError> {
    let Notes { scope, pace, .. } = notes_of(to).await?;
    let (old, _) = digest::of_store(from, |key| scope.has::<V>(key), pace).await?;
    let (new, _) = digest::of_store(to, |_| true, pace).await?;
    let total = old.len() + new.keys().filter(|key| !old.contains_key(*key)).count();
    let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
    let is_there = |key: &V::Key| (old.contains_key(key), new.contains_key(key));
    let mut different: Vec<(V::Key, (bool, bool))> =
        keys.filter(|key| old.get(*key) != new.get(*key)).map(|key| (key.clone(), is_there(key))).collect();
    different.sort_unstable();
    for _ in 0..LOOKS {
        // So many do not come of events that one of both has not folded yet.
        if different.is_empty() || different.len() > LOOKED_AT_MAX {
            break;
        }
        sleep(BETWEEN).await;
        let keys: Vec<V::Key> = different.into_iter().map(|(key, _)| key).collect();
        let (old, new) = (of(from, &keys).await?, of(to, &keys).await?);
        let differs = keys.into_iter().filter(|key| old.get(key) != new.get(key));
        different = differs.map(|key| (key.clone(), (old.contains_key(&key), new.contains_key(&key)))).collect();
    }
    let count = |kind| different.iter().filter(|(_, is)| *is == kind).count() as u64;
    let shown: Vec<V::Key> = different.iter().take(samples).map(|(key, _)| key.clone()).collect();
    let (old, new) = (of(from, &shown).await?, of(to, &shown).await?);
    let sample = |key: &V::Key| Change { key: format!("{key:?}"), from: json(old.get(key)), to: json(new.get(key)) };
    Ok(Diff {
        view: V::NAME,
        from: from.generation(),
        to: to.generation(),
        same: (total - different.len()) as u64,
        added: count((false, true)),
        removed: count((true, false)),
        changed: count((true, true)),
        samples: shown.iter().map(sample).collect(),
    })
}

async fn of<V: View, S: Store<V>>(store: &S, keys: &[V::Key]) -> Result<BTreeMap<V::Key, V>, StoreError> {
    Ok(store.load(keys).await?.into_iter().map(|row| (row.key(), row)).collect())
}

fn json<V: View>(row: Option<&V>) -> Option<serde_json::Value> {
    row.map(|row| serde_json::to_value(row).unwrap_or_else(|error| error.to_string().into()))
}
