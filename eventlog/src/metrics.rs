//! Metrics of whoever folds a log.

use std::collections::BTreeMap;

use metrics::{counter, describe_counter};
use parking_lot::Mutex;

use crate::term::VoidReason;

/// Records that do not count, by `topic` and `reason`.
pub const VOID_RECORDS: &str = "lonja_void_records_total";

/// Counts of the same, for those who ask without a recorder. Like it there is one per process.
static SEEN: Mutex<BTreeMap<(&str, &str), u64>> = Mutex::new(BTreeMap::new());

/// Tells the recorder what the metrics of this crate are.
pub fn describe() {
    describe_counter!(VOID_RECORDS, "Records that a reader left out by the rule of terms, by topic and reason");
}

/// A reader left out a record.
pub(crate) fn void_record(topic: &'static str, reason: VoidReason) {
    counter!(VOID_RECORDS, "topic" => topic, "reason" => reason.as_str()).increment(1);
    *SEEN.lock().entry((topic, reason.as_str())).or_default() += 1;
}

/// How many records the readers of this process have left out since it started, by topic and reason. Each reader counts
/// for itself, so a record that three views met is there three times: how many there are only a whole reading tells.
#[must_use]
pub fn void_records() -> BTreeMap<(&'static str, &'static str), u64> {
    SEEN.lock().clone()
}
