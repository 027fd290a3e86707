//! The statements of a view: their text depends on the view alone.

use std::sync::Arc;

/// Reads the checkpoints of view `$1`, generation `$2`.
pub(super) const CHECKPOINTS: &str = "
SELECT topic, partition_number, next_offset, term_number, term_nonce, sequence, topic_id, last_record
FROM checkpoints WHERE view_name = $1 AND generation = $2";

/// What `rows` finds, whose parameters are from `$4` on, and beside each row, or alone where there is none, how far view `$1`,
/// generation `$2`, has folded the partitions numbered `$3`: one statement sees one moment.
pub(super) fn as_of(rows: &str) -> String {
    format!(
        "SELECT c.*, r.* FROM (
    SELECT array_agg(topic) AS topics, array_agg(partition_number) AS numbers, array_agg(next_offset) AS next_offsets
    FROM checkpoints WHERE view_name = $1 AND generation = $2 AND partition_number = ANY($3)
) AS c LEFT JOIN ({rows}) AS r ON true"
    )
}

/// Makes the checkpoints that are missing, at 0: so moving one is always an update of one row.
pub(super) const SEED: &str = "
INSERT INTO checkpoints
SELECT $1, $2, p.topic, p.number, 0, NULL, NULL, 0, p.zero, p.zero
FROM (SELECT u.topic, u.number, '00000000-0000-0000-0000-000000000000'::uuid AS zero
      FROM UNNEST($3::text[], $4::int[]) AS u (topic, number)) AS p
ON CONFLICT DO NOTHING";

/// Locks the checkpoints that are where they are expected, and moves them if that is all of them. A row that another
/// projector moved meanwhile is looked at again after the wait for its lock, and does not match.
const MOVE: &str = "
WITH moves AS (
    SELECT * FROM UNNEST($3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::uuid[], $9::bigint[],
                         $10::uuid[], $11::uuid[])
    AS m (topic, partition_number, expected, next_offset, term_number, term_nonce, sequence, topic_id, last_record)
), locked AS (
    SELECT c.topic, c.partition_number
    FROM checkpoints AS c JOIN moves AS m USING (topic, partition_number)
    WHERE c.view_name = $1 AND c.generation = $2 AND c.next_offset = m.expected
    ORDER BY c.topic, c.partition_number
    FOR UPDATE OF c
), got AS (
    SELECT count(*) = cardinality($3::text[]) AS everything FROM locked
), moved AS (
    UPDATE checkpoints AS c
    SET next_offset = m.next_offset, term_number = m.term_number, term_nonce = m.term_nonce, sequence = m.sequence,
        topic_id = m.topic_id, last_record = m.last_record
    FROM moves AS m, got
    WHERE got.everything AND c.view_name = $1 AND c.generation = $2
      AND c.topic = m.topic AND c.partition_number = m.partition_number
    RETURNING 1
)";

/// Number of the first parameter that is a view's column.
const FIRST_COLUMN: usize = 14;

/// The statements of one view.
pub(super) struct Statements {
    /// Rows of the keys `$1`.
    pub(super) load: Arc<str>,
    /// The row of the key `$4`, as [`as_of`] answers.
    pub(super) look_up: Arc<str>,
    /// The first `$1` rows.
    pub(super) first: Arc<str>,
    /// The first `$1` rows after the key `$2`.
    pub(super) next: Arc<str>,
    /// A batch; answers how many checkpoints it moved. Parameters: view, generation, nine arrays of [`MOVE`], keys to
    /// delete, `synchronous_commit` of this commit, one array for each column.
    pub(super) commit: Arc<str>,
}

impl Statements {
    pub(super) fn new(table: &str, columns: &[(&str, &str)]) -> Self {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let (key, list) = (names[0], names.join(", "));
        let arrays: Vec<String> =
            columns.iter().zip(FIRST_COLUMN..).map(|((_, kind), at)| format!("${at}::{kind}[]")).collect();
        let sets: Vec<String> = names[1..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
        let commit = format!(
            "{MOVE}, deleted AS (
    DELETE FROM {table} USING got WHERE got.everything AND {key} = ANY($12)
), written AS (
    INSERT INTO {table} ({list})
    SELECT r.* FROM UNNEST({arrays}) AS r ({list}), got WHERE got.everything
    ON CONFLICT ({key}) DO UPDATE SET {sets}
)
SELECT count(*) FROM moved, (SELECT set_config('synchronous_commit', $13, true)) AS durability",
            arrays = arrays.join(", "),
            sets = sets.join(", "),
        );
        Self {
            load: format!("SELECT {list} FROM {table} WHERE {key} = ANY($1)").into(),
            look_up: as_of(&format!("SELECT {list} FROM {table} WHERE {key} = $4")).into(),
            first: format!("SELECT {list} FROM {table} ORDER BY {key} LIMIT $1").into(),
            next: format!("SELECT {list} FROM {table} WHERE {key} > $2 ORDER BY {key} LIMIT $1").into(),
            commit: commit.into(),
        }
    }
}
