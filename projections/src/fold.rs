//! Folding a batch: which rows it needs, and what becomes of them.

use foldhash::{HashMap, HashMapExt, HashSet};

use crate::view::View;

/// A batch of events on its way into the rows that it changes.
pub(crate) struct Folding<'e, V: View> {
    events: &'e [V::Event],
    /// Which of `rows` each event changes.
    of: Vec<usize>,
    /// In the order of their first events.
    rows: Vec<Row<V>>,
    /// Where a row stands in `rows`.
    at: HashMap<V::Key, usize>,
}

/// What becomes of the rows of a batch: each key that changed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folded<V: View> {
    /// Rows as they are then.
    pub upserts: Vec<V>,
    /// Rows that are no more.
    pub deletes: Vec<V::Key>,
}

impl<V: View> Default for Folded<V> {
    fn default() -> Self {
        Self { upserts: Vec::new(), deletes: Vec::new() }
    }
}

struct Row<V: View> {
    key: V::Key,
    /// Its first event depends on what was there before.
    wanted: bool,
    before: Option<V>,
    after: Option<V>,
}

impl<'e, V: View> Folding<'e, V> {
    pub fn of(events: &'e [V::Event]) -> Self {
        let (mut rows, mut at) = (Vec::with_capacity(events.len()), HashMap::with_capacity(events.len()));
        let mut place = |event| {
            let key = V::key_of(event);
            *at.entry(key.clone()).or_insert_with(|| {
                rows.push(Row { key, wanted: V::needs_row(event), before: None, after: None });
                rows.len() - 1
            })
        };
        let of = events.iter().map(&mut place).collect();
        Self { events, of, rows, at }
    }

    /// The rows that the fold depends on: those that `before`, the batch before, leaves, and the keys of the others, which the
    /// store may have.
    pub fn wanted(&self, before: &Folded<V>) -> (Vec<V>, Vec<V::Key>) {
        let is_wanted = |key: &V::Key| self.at.get(key).is_some_and(|at| self.rows[*at].wanted);
        let left: Vec<V> = before.upserts.iter().filter(|row| is_wanted(&row.key())).cloned().collect();
        let ended = before.deletes.iter().filter(|key| is_wanted(key)).cloned();
        let known: HashSet<V::Key> = left.iter().map(View::key).chain(ended).collect();
        let wanted = self.rows.iter().filter(|row| row.wanted && !known.contains(&row.key));
        (left, wanted.map(|row| row.key.clone()).collect())
    }

    /// What becomes of the rows. `found` are those of [`Self::wanted`] that exist.
    pub fn changes(mut self, found: Vec<V>) -> Folded<V> {
        for row in found {
            if let Some(at) = self.at.get(&row.key()) {
                let own = &mut self.rows[*at];
                own.after = Some(row.clone());
                own.before = Some(row);
            }
        }
        for (event, at) in self.events.iter().zip(&self.of) {
            let row = &mut self.rows[*at];
            row.after = V::fold(row.after.take(), event);
        }
        let (mut upserts, mut deletes) = (Vec::with_capacity(self.rows.len()), Vec::new());
        for row in self.rows {
            match row {
                Row { wanted: true, before, after, .. } if before == after => {}
                Row { after: Some(row), .. } => upserts.push(row),
                Row { after: None, key, .. } => deletes.push(key),
            }
        }
        Folded { upserts, deletes }
    }
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

    fn changes(events: &[Step], found: Vec<Count>) -> (Vec<Count>, Vec<&'static str>) {
        let Folded { upserts, deletes } = Folding::of(events).changes(found);
        (upserts, deletes)
    }

    #[test]
    fn only_rows_that_the_fold_depends_on_are_wanted() {
        let events = [Set("a", 1), Add("a", 1), Add("b", 1), Set("b", 2), Add("b", 1), Remove("c")];
        assert_eq!(Folding::<Count>::of(&events).wanted(&Folded::default()), (vec![], vec!["b"]));
    }

    #[test]
    fn what_the_batch_before_leaves_is_not_loaded() {
        let before = Folded { upserts: vec![count("a", 1), count("b", 2), count("e", 5)], deletes: vec!["c", "f"] };
        let events = [Add("a", 1), Set("b", 1), Add("c", 1), Add("d", 1), Add("a", 1)];
        let folding = Folding::<Count>::of(&events);
        let (found, missing) = folding.wanted(&before);
        assert_eq!((&found, &missing), (&vec![count("a", 1)], &vec!["d"]));
        let upserts = vec![count("a", 3), count("b", 1), count("c", 1), count("d", 1)];
        assert_eq!(folding.changes(found), Folded { upserts, deletes: vec![] });
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
        assert_eq!(changes(&[Add("b", 1), Remove("b")], vec![]), (vec![], vec![]));
    }

    #[test]
    fn a_row_that_ended_is_deleted() {
        assert_eq!(changes(&[Add("b", 1), Remove("b")], vec![count("b", 10)]), (vec![], vec!["b"]));
        assert_eq!(changes(&[Remove("c")], vec![]), (vec![], vec!["c"]));
        assert_eq!(changes(&[Remove("c"), Add("c", 1)], vec![]), (vec![count("c", 1)], vec![]));
    }
}
