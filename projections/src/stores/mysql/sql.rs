//! The statements of a view: their text depends on the view alone. A comparison with a text out of JSON names the
//! column's collation, without which the server would not use its index.

use std::sync::Arc;

/// Reads the checkpoints of a view and generation.
pub(super) const CHECKPOINTS: &str = "
SELECT topic, partition_number, next_offset, term_number, term_nonce, sequence, topic_id, last_record
FROM checkpoints WHERE view_name = ? AND generation = ?";

/// Makes the checkpoints that are missing, at 0: so moving one is always an update of one row.
pub(super) const SEED: &str = "
INSERT INTO checkpoints (view_name, generation, topic, partition_number, next_offset, sequence, topic_id, last_record)
SELECT ?, ?, m.topic, m.partition_number, 0, 0, m.topic_id, m.last_record
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    topic            varchar(64) PATH '$.topic',
    partition_number int         PATH '$.partition_number',
    topic_id         char(32)    PATH '$.topic_id',
    last_record      char(32)    PATH '$.last_record'
)) AS m
ON DUPLICATE KEY UPDATE next_offset = checkpoints.next_offset";

/// Moves the checkpoints that are where they are expected.
pub(super) const MOVE: &str = "
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    topic            varchar(64) PATH '$.topic',
    partition_number int         PATH '$.partition_number',
    expected         bigint      PATH '$.expected',
    next_offset      bigint      PATH '$.next_offset',
    term_number      bigint      PATH '$.term_number',
    term_nonce       char(32)    PATH '$.term_nonce',
    sequence         bigint      PATH '$.sequence',
    topic_id         char(32)    PATH '$.topic_id',
    last_record      char(32)    PATH '$.last_record'
)) AS m STRAIGHT_JOIN checkpoints AS c
    ON c.topic = m.topic COLLATE utf8mb4_bin AND c.partition_number = m.partition_number
SET c.next_offset = m.next_offset, c.term_number = m.term_number, c.term_nonce = m.term_nonce, c.sequence = m.sequence,
    c.topic_id = m.topic_id, c.last_record = m.last_record
WHERE c.view_name = ? AND c.generation = ? AND c.next_offset = m.expected";

/// The statements of one view. The one parameter of each is a JSON array.
pub(super) struct Statements {
    /// Rows of these keys.
    pub(super) load: Arc<str>,
    /// The one row among these keys, if it is there, beside how far a view (its name, generation, a topic, a partition) is: one
    /// statement sees one moment. The parameters before the array say which.
    pub(super) look_up: Arc<str>,
    /// The first rows; the parameter is how many.
    pub(super) first: Arc<str>,
    /// The first rows after a key; the parameters are that one, and how many.
    pub(super) next: Arc<str>,
    /// Writes these rows.
    pub(super) upsert: Arc<str>,
    /// Deletes the rows of these keys.
    pub(super) delete: Arc<str>,
}

impl Statements {
    pub(super) fn new(table: &str, columns: &[(&str, &str)]) -> Self {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let (key, key_kind) = columns[0];
        let list = names.join(", ");
        let own: Vec<String> = names.iter().map(|name| format!("t.{name}")).collect();
        let paths: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {kind} PATH '$.{name}'")).collect();
        let sets: Vec<String> = names[1..].iter().map(|name| format!("{name} = VALUES({name})")).collect();
        let keys = format!(
            "JSON_TABLE(?, '$[*]' COLUMNS (k {key_kind} PATH '$')) AS j
STRAIGHT_JOIN {table} AS t ON t.{key} = j.k COLLATE utf8mb4_bin"
        );
        let load = format!("SELECT {} FROM {keys}", own.join(", "));
        Self {
            look_up: format!(
                "SELECT c.next_offset, r.* FROM (
    SELECT MAX(next_offset) AS next_offset FROM checkpoints
    WHERE view_name = ? AND generation = ? AND topic = ? AND partition_number = ?
) AS c LEFT JOIN ({load}) AS r ON TRUE"
            )
            .into(),
            load: load.into(),
            first: format!("SELECT {list} FROM {table} ORDER BY {key} LIMIT ?").into(),
            next: format!("SELECT {list} FROM {table} WHERE {key} > ? COLLATE utf8mb4_bin ORDER BY {key} LIMIT ?")
                .into(),
            upsert: format!(
                "INSERT INTO {table} ({list})
SELECT {list} FROM JSON_TABLE(?, '$[*]' COLUMNS ({})) AS j
ON DUPLICATE KEY UPDATE {}",
                paths.join(", "),
                sets.join(", "),
            )
            .into(),
            delete: format!("DELETE t FROM {keys}").into(),
        }
    }
}
