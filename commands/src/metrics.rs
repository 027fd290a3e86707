//! Metrics of owners, each by `topic`.

use metrics::{Unit, describe_counter, describe_histogram};

/// Seconds from handing a record to the log to its confirmation.
pub const APPEND_SECONDS: &str = "lonja_append_seconds";
/// Claims that opened a term here.
pub const TERMS_STARTED: &str = "lonja_terms_started_total";
/// Terms that ended here before they were revoked.
pub const STEP_DOWNS: &str = "lonja_step_downs_total";
/// Partitions whose local state was deleted because the log is not the one that it was folded from.
pub const STATE_WIPES: &str = "lonja_state_wipes_total";
/// Aggregates whose history cannot be folded any further. Each one needs help.
pub const AGGREGATES_PARKED: &str = "lonja_aggregates_parked_total";
/// Decisions whose caller had stopped waiting.
pub const UNHEARD_ANSWERS: &str = "lonja_unheard_answers_total";

/// Tells the recorder what the metrics of this crate are.
pub fn describe() {
    describe_histogram!(APPEND_SECONDS, Unit::Seconds, "Time from handing a record to the log to its confirmation");
    describe_counter!(TERMS_STARTED, "Claims that opened a term here");
    describe_counter!(STEP_DOWNS, "Terms that ended here before they were revoked");
    describe_counter!(STATE_WIPES, "Local states deleted because the log is not the one that they were folded from");
    describe_counter!(AGGREGATES_PARKED, "Aggregates whose history cannot be folded any further: each one needs help");
    describe_counter!(UNHEARD_ANSWERS, "Decisions whose caller had stopped waiting");
}
