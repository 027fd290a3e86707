//! Folding a batch: which rows it needs, and what becomes of them.

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use crate::view::View;

/// The keys whose rows the fold of `events` depends on.
pub(crate) fn wanted<V: View>(events: &[V::Event]) -> Vec<V::Key> {
    let mut seen = HashSet::new();
    let mut wanted = Vec::new();
    for event in events {
        let key = V::key_of(event);
        if seen.insert(key.clone()) && V::needs_row(event) {
            wanted.push(key);
        }
    }
    wanted
}

/// Rows to write and keys to delete: each key that changed once. `rows` are those of [`wanted`] that exist.
pub(crate) fn changes<V: View>(events: &[V::Event], rows: Vec<V>) -> (Vec<V>, Vec<V::Key>) {
    let before: HashMap<V::Key, V> = rows.into_iter().map(|row| (row.key(), row)).collect();
    let mut order = Vec::new();
    let mut after: HashMap<V::Key, (bool, Option<V>)> = HashMap::new();
    for event in events {
        let key = V::key_of(event);
        let (_, row) = after.entry(key).or_insert_with_key(|key| {
            order.push(key.clone());
            let loaded = V::needs_row(event);
            (loaded, if loaded { before.get(key).cloned() } else { None })
        });
        *row = V::fold(row.take(), event);
    }
    let mut upserts = Vec::new();
    let mut deletes = Vec::new();
    for key in order {
        match after.remove(&key) {
            Some((true, row)) if row.as_ref() == before.get(&key) => {}
            Some((_, Some(row))) => upserts.push(row),
            Some((_, None)) => deletes.push(key),
            None => {}
        }
    }
    (upserts, deletes)
}

#[cfg(test)]
mod tests {
    use eventlog::{Admitted, Partition};
    use schemas::{Codec, CodecError, Topic};
    use serde::Serialize;

    use super::*;

    /// Counts by name: `Add` needs the former row, `Set` does not, `Remove` ends it.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    struct Count {
        name: &'static str,
        count: u64,
    }

    enum Step {
        Add(&'static str, u64),
        Set(&'static str, u64),
        Remove(&'static str),
    }

    use Step::{Add, Remove, Set};

    impl View for Count {
        const NAME: &'static str = "count";
        const GENERATION: u32 = 1;
        const TOPICS: &'static [&'static Topic] = &[];
        type Key = &'static str;
        type Event = Step;

        fn decode(_: &Codec, _: &Admitted) -> Result<Option<Step>, CodecError> {
            Ok(None)
        }

        fn key_of(event: &Step) -> &'static str {
            let (Add(name, _) | Set(name, _) | Remove(name)) = event;
            name
        }

        fn key(&self) -> &'static str {
            self.name
        }

        fn home(name: &&'static str) -> Partition {
            Partition::of(&schemas::topics::ORDER, name.as_bytes())
        }

        fn needs_row(event: &Step) -> bool {
            matches!(event, Add(..))
        }

        fn fold(row: Option<Self>, event: &Step) -> Option<Self> {
            match *event {
                Add(name, count) => Some(Self { name, count: row.map_or(0, |row| row.count) + count }),
                Set(name, count) => Some(Self { name, count }),
                Remove(_) => None,
            }
        }
    }

    fn count(name: &'static str, count: u64) -> Count {
        Count { name, count }
    }

    #[test]
    fn only_rows_that_the_fold_depends_on_are_wanted() {
        let events = [Set("a", 1), Add("a", 1), Add("b", 1), Set("b", 2), Add("b", 1), Remove("c")];
        assert_eq!(wanted::<Count>(&events), ["b"]);
    }

    #[test]
    fn each_changed_row_is_written_once() {
        let events = [Set("a", 1), Add("a", 1), Add("b", 1), Add("b", 2)];
        let (upserts, deletes) = changes(&events, vec![count("b", 10)]);
        assert_eq!((upserts, deletes), (vec![count("a", 2), count("b", 13)], vec![]));
    }

    #[test]
    fn a_row_that_came_out_as_it_was_is_not_written() {
        assert_eq!(changes(&[Add("b", 0)], vec![count("b", 10)]), (vec![], vec![]));
        assert_eq!(changes(&[Add("b", 1), Remove("b")], Vec::<Count>::new()), (vec![], vec![]));
    }

    #[test]
    fn a_row_that_ended_is_deleted() {
        assert_eq!(changes(&[Add("b", 1), Remove("b")], vec![count("b", 10)]), (vec![], vec!["b"]));
        assert_eq!(changes::<Count>(&[Remove("c")], vec![]), (vec![], vec!["c"]));
        assert_eq!(changes::<Count>(&[Remove("c"), Add("c", 1)], vec![]), (vec![count("c", 1)], vec![]));
    }
}
