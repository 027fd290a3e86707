//! The audit, and looking at the log, on each log. The Kafka half needs a broker at `LONJA_KAFKA` and fails without one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod desk;
mod homes;
mod log;
mod records;

/// Runs each function of a suite against each log.
macro_rules! contract {
    ($($suite:ident::$name:ident)*) => {
        mod embedded_log {
            $(#[test] fn $name() { crate::$suite::$name(&crate::homes::Directory::new()) })*
        }
        mod kafka_log {
            $(#[test] fn $name() { crate::$suite::$name(&crate::homes::Cluster::new()) })*
        }
    };
}

contract! {
    audit::what_is_recorded_is_read_again
    audit::pages_lead_from_the_newest_to_the_oldest
    audit::what_is_no_entry_is_shown_as_such
    audit::an_entry_that_does_not_fit_is_refused
    log::each_record_is_shown_with_what_the_rule_says
    log::a_page_begins_anywhere_and_judges_alike
    log::several_partitions_are_one_story
    log::stats_count_what_counts
    log::what_cannot_be_asked_is_a_problem
    log::a_long_log_is_read_in_pieces
}

/// A log in a directory has one process, which has it open.
#[test]
fn a_log_that_was_replaced_is_read_anew() {
    log::a_log_that_was_replaced_is_read_anew(&homes::Cluster::new());
}
