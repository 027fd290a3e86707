//! What every store must do. One suite, run against each home of the views; memory is the reference.
//!
//! The servers are those at `LONJA_POSTGRES`, `LONJA_MYSQL` and `LONJA_MONGO`; without them the tests fail. Each test
//! makes a database of its own and drops it.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod ahead;
mod commits;
mod cuts;
mod faults;
mod finders;
mod folding;
mod generations;
mod history;
mod homes;
mod log;
mod orphans;
mod poison;
mod running;
mod scopes;
mod shapes;
mod steps;

use homes::{Home, on};

/// Runs each function of the suite against each home.
macro_rules! contract {
    ($($suite:ident::$name:ident)*) => {
        contract!(@home memory Memory: $($suite::$name)*);
        contract!(@home postgres Postgres: $($suite::$name)*);
        contract!(@home mysql Mysql: $($suite::$name)*);
        contract!(@home mongo Mongo: $($suite::$name)*);
    };
    (@home $module:ident $home:ident: $($suite:ident::$name:ident)*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { crate::on(crate::Home::$home, crate::$suite::$name).await })*
        }
    };
}

contract! {
    folding::a_store_holds_what_the_log_says_after_any_restarts
    folding::two_projectors_at_once_apply_each_event_once
    folding::a_write_is_visible_to_who_waits_for_it
    folding::rows_are_compared_while_they_change
    folding::the_verifier_sees_a_row_that_is_wrong
    commits::of_two_commits_from_one_checkpoint_one_wins
    commits::one_stale_checkpoint_among_many_keeps_all_back
    commits::rows_are_replaced_and_deleted
    faults::a_log_that_lost_its_tail_stops_the_views
    faults::another_log_stops_the_views
    faults::a_log_that_does_not_answer_is_waited_for
    faults::a_store_that_comes_back_with_less_is_folded_again
    poison::poison_parks_its_key_alone_and_order_is_kept
    poison::parked_events_are_kept_and_each_is_applied_once
    generations::a_replay_is_built_beside_the_live_view_and_takes_its_place
    scopes::a_part_of_the_log_is_folded_first
    finders::a_customers_orders_are_paged_newest_first
    finders::a_subjects_activities_are_paged_newest_first
    finders::rows_are_found_by_their_keys
}

/// What only a server can do wrong.
macro_rules! servers {
    ($($suite:ident::$name:ident)*) => {
        servers!(@home postgres_server Postgres: $($suite::$name)*);
        servers!(@home mysql_server Mysql: $($suite::$name)*);
        servers!(@home mongo_server Mongo: $($suite::$name)*);
    };
    (@home $module:ident $home:ident: $($suite:ident::$name:ident)*) => {
        contract!(@home $module $home: $($suite::$name)*);
    };
}

servers! {
    faults::a_store_that_refuses_everything_is_waited_for
    poison::a_row_that_its_store_refuses_parks_its_key
    faults::a_store_that_is_down_delays_itself_alone
    cuts::cut_connections_lose_and_double_nothing
    steps::what_is_missing_is_named_and_made
}

/// What only tables have.
mod tables {
    contract!(@home postgres Postgres: shapes::a_new_column_comes_by_a_migration_and_a_replay);
    contract!(@home mysql Mysql: shapes::a_new_column_comes_by_a_migration_and_a_replay);
}

/// Only MongoDB keeps a transaction whose connection has ended.
mod transactions {
    contract!(@home mongo Mongo: orphans::a_transaction_at_work_is_left_alone orphans::what_a_predecessor_left_open_just_now_ends_soon);
}
