//! Metrics of whoever folds a log.

use metrics::describe_counter;

/// Records that do not count, by `topic` and `reason`.
pub const VOID_RECORDS: &str = "lonja_void_records_total";

/// Tells the recorder what the metrics of this crate are.
pub fn describe() {
    describe_counter!(VOID_RECORDS, "Records that a reader left out by the rule of terms, by topic and reason");
}
