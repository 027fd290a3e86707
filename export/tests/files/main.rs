//! What is exported, row for row, against a fold of the log that shares no code with the export but the codec; and that it
//! is so after kills, on both logs.
//!
//! The Kafka half needs a broker at `LONJA_KAFKA` and a registry at `LONJA_REGISTRY`, and fails without them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fold;
mod kafka;
mod refusals;
mod resume;
mod rows;
mod script;
mod types;
mod what_counts;

use std::path::Path;

use eventlog::EventLog;
use lonja_export::{Export, ExportError, Limits, Step, Summary};
use schemas::Codec;
use schemas::topics::ORDER;

/// Small files, so that there are many.
pub const SMALL: Limits = Limits { records: 5, bytes: 1 << 20 };

/// All of `order.events`.
pub fn export_to(to: &Path) -> Export {
    Export { topic: &ORDER, partition: None, to: to.to_owned(), limits: SMALL }
}

/// Exports what is new in a log of this build's own schemas.
pub fn export(log: &dyn EventLog, to: &Path) -> Result<Summary, ExportError> {
    export_to(to).run(log, &Codec::local(), &mut |_: &Step| {})
}

/// Asserts that what is in `to` is what the fold of `log` says.
#[track_caller]
pub fn check(log: &dyn EventLog, codec: &Codec, to: &Path) {
    let (exported, folded) = (rows::all(to), fold::of(log, codec));
    assert_eq!(exported.keys().collect::<Vec<_>>(), folded.keys().collect::<Vec<_>>());
    for (dataset, rows) in &folded {
        for (exported, row) in exported[dataset].iter().zip(rows) {
            assert_eq!(exported, row, "{dataset}");
        }
        assert_eq!(exported[dataset].len(), rows.len(), "{dataset}");
    }
}
