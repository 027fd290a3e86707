//! What every log must do. One suite ([`suite`], [`folding`]), run against each home of the log; and what only one home
//! can do wrong.
//!
//! The Kafka half needs a broker at `LONJA_KAFKA` and fails without one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod embedded;
mod folding;
mod homes;
mod kafka;
mod records;
mod shared;
mod suite;

/// Runs each function of the suite against each log.
macro_rules! contract {
    ($($suite:ident::$name:ident)*) => {
        mod embedded_log {
            $(#[test] fn $name() { crate::$suite::$name(&crate::homes::Directory::new()) })*
        }
        mod kafka_log {
            $(#[test] fn $name() { crate::$suite::$name(&crate::homes::Cluster::new()) })*
        }
        mod shared_log {
            $(#[test] fn $name() { crate::$suite::$name(&crate::homes::Shared(crate::homes::Directory::new())) })*
        }
    };
}

contract! {
    suite::offsets_are_contiguous_and_reported_in_order
    suite::a_reader_sees_the_same_bytes_from_any_offset
    suite::a_single_record_is_found_at_its_offset
    suite::partitions_do_not_mix
    suite::a_reader_takes_what_it_is_allowed_and_waits_for_more
    suite::a_position_after_the_end_is_out_of_range
    suite::every_append_of_many_appenders_is_reported_once
    suite::the_log_time_never_runs_backwards
    suite::a_log_that_is_opened_again_is_the_same
    suite::the_largest_payload_fits
    suite::a_dropped_appender_does_not_hinder_the_next
    suite::one_member_is_assigned_everything
    folding::what_does_not_count_is_left_out
    folding::a_fold_goes_on_where_its_checkpoint_stands
    folding::another_log_is_noticed
    folding::a_log_that_lost_its_tail_is_noticed
}
