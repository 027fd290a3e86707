//! Every metric of this crate: name, unit, help.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Offset of the next record to fold. Labels `view`, `generation`, `topic`, `partition`.
pub const NEXT_OFFSET: &str = "lonja_projection_next_offset";
/// Events that were folded and written. Labels `view`, `generation`.
pub const EVENTS: &str = "lonja_projection_events_total";
/// Load, fold and write of one batch. Labels `view`, `generation`.
pub const BATCH_SECONDS: &str = "lonja_projection_batch_seconds";
/// From the append of a batch's oldest event until it was visible. Labels `view`, `generation`.
pub const EVENT_AGE_SECONDS: &str = "lonja_projection_event_age_seconds";
/// Records between the view and the log's end. Label `view`.
pub const LAG_EVENTS: &str = "lonja_projection_lag_events";
/// Age of the oldest record that the view has not folded; 0 when there is none. Label `view`.
pub const LAG_SECONDS: &str = "lonja_projection_lag_seconds";
/// 1 when the view has stopped and needs help. Labels `view`, `generation`.
pub const STOPPED: &str = "lonja_projection_stopped";
/// Attempts to read or write a store that failed. Labels `view`, `generation`.
pub const STORE_ERRORS: &str = "lonja_projection_store_errors_total";

/// Aggregates whose events are parked. Labels `view`, `generation`.
pub const PARKED_KEYS: &str = "lonja_projection_parked_keys";
/// Events that are parked. Labels `view`, `generation`.
pub const PARKED_EVENTS: &str = "lonja_projection_parked_events";

/// Tells the recorder units and help.
pub fn describe() {
    describe_gauge!(NEXT_OFFSET, Unit::Count, "Offset of the next record that the view folds");
    describe_counter!(EVENTS, Unit::Count, "Events folded and written");
    describe_histogram!(BATCH_SECONDS, Unit::Seconds, "Time to load, fold and write one batch");
    describe_histogram!(EVENT_AGE_SECONDS, Unit::Seconds, "Age of a batch's oldest event when it became visible");
    describe_gauge!(LAG_EVENTS, Unit::Count, "Records between the view and the end of the log");
    describe_gauge!(LAG_SECONDS, Unit::Seconds, "Age of the oldest record that the view has not folded");
    describe_gauge!(STOPPED, Unit::Count, "1 when the view has stopped and needs help");
    describe_gauge!(PARKED_KEYS, Unit::Count, "Aggregates whose events are parked");
    describe_gauge!(PARKED_EVENTS, Unit::Count, "Events that are parked");
    describe_counter!(STORE_ERRORS, Unit::Count, "Attempts to read or write a store that failed");
}
