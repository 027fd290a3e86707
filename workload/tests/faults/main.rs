//! The quick rows of `cargo xtask faults`, one test each.

use std::path::Path;
use std::sync::Mutex;

use clap::Parser;
use lonja_workload::faults;
use lonja_workload::faults::place::Tools;
use lonja_workload::faults::report::Verdict;
use lonja_workload::stack::Stack;

/// Rows take turns: each needs the machine.
static TURN: Mutex<()> = Mutex::new(());

#[derive(Parser)]
struct FromEnvironment {
    #[command(flatten)]
    stack: Stack,
}

#[track_caller]
fn check(name: &str) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let stack = FromEnvironment::try_parse_from(["faults"]);
    let stack = stack.unwrap_or_else(|error| panic!("run `cargo xtask test`: {error}")).stack;
    let tools = Tools::beside(Path::new(env!("CARGO_BIN_EXE_workload")), stack).unwrap();
    let row = faults::rows().into_iter().find(|row| row.name == name).unwrap();
    let line = row.judge(&tools);
    assert_eq!(line.verdict, Verdict::Passed, "{line}");
}

macro_rules! rows {
    ($($test:ident $name:literal;)*) => {
        $(#[test] fn $test() { check($name); })*

        #[test]
        fn every_quick_row_is_a_test() {
            let quick: Vec<_> = faults::rows().into_iter().filter(|row| row.quick).map(|row| row.name).collect();
            assert_eq!(quick, [$($name),*]);
        }
    };
}

rows! {
    without_a_fault_nothing_is_found "control";
    without_deduplication_the_verifier_finds_it "no-dedup";
    nothing_lands_behind_a_refused_append "gapless";
    what_lands_behind_a_refused_append_is_found "no-gapless";
    the_process_dies_before_the_response "F01";
    the_owner_dies_before_the_append "F02-before-append";
    the_owner_dies_after_the_append_before_the_answer "F02-after-append";
    the_owner_dies_after_the_answer_before_the_state_store "F02-after-answer";
    a_projector_dies_after_a_commit_in_postgresql "F03-postgresql";
    a_projector_dies_inside_a_transaction_of_mysql "F03-mysql";
    a_projector_dies_inside_a_transaction_of_mongodb "F03-mongodb";
    mysql_is_killed "F16-mysql";
    mongodb_is_killed "F16-mongodb";
    mysql_fails_over_to_a_replica_that_is_behind "F17-mysql";
    the_broker_is_killed "F06-one";
    an_event_that_nobody_can_read_is_parked "F21";
    a_foreign_producer_writes_odd_records "F23";
    a_process_is_killed_amid_replays "F30-process";
    one_key_is_sent_many_times_at_once "F24";
}
