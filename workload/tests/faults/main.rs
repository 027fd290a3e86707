//! Faults on the real stack under load, judged from outside: a history of what callers saw, the log, and the stores.
//!
//! Each row starts a shop of its own, sends a mix of commands while the fault strikes, and asks `workload verify`, which
//! shares nothing with the service but the schemas. The last row switches a rule off, to show that the verifier can fail.

mod broker;
#[path = "../support/place.rs"]
mod place;
mod shop;

use std::process::Output;
use std::sync::Mutex;
use std::time::Duration;

use broker::Broker;
use place::{Place, stack, text};
use shop::Shop;

/// Rows take turns: each needs the machine.
static TURN: Mutex<()> = Mutex::new(());

struct Row<'r> {
    place: &'r Place,
    fault: Option<(&'r str, &'r str)>,
    always: Option<(&'r str, &'r str)>,
    /// What happens beside the load.
    meanwhile: &'r (dyn Fn() + Sync),
}

/// Load with the fault, then the verdict; and how often the shop was killed.
fn run(row: &Row<'_>) -> (Output, u32, String) {
    let mut shop = Shop::start(row.place, row.fault, row.always);
    let history = row.place.dir.path().join("history.jsonl");
    let history = history.to_str().unwrap();
    let address = shop.address.to_string();
    let load = ["load", "--address", &address, "--seconds", "6", "--rate", "100", "--history", history];
    let loaded = std::thread::scope(|scope| {
        let loaded = scope.spawn(|| row.place.workload().args(load).output().unwrap());
        (row.meanwhile)();
        loaded.join().unwrap()
    });
    assert!(loaded.status.success(), "the load: {}", text(&loaded));
    let said = text(&loaded);
    assert!(said.contains(" 0 without a definite answer"), "{said}\n{}", shop.last_words());
    let verdict = row.place.workload().args(["verify", "--history", history]).output().unwrap();
    let kills = shop.kills();
    shop.stop();
    (verdict, kills, shop.last_words())
}

#[track_caller]
fn check(fault: Option<(&str, &str)>, kills: u32) {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let place = Place::new(stack());
    let (verdict, killed, words) = run(&Row { place: &place, fault, always: None, meanwhile: &|| {} });
    assert!(verdict.status.success(), "{}\n{words}", text(&verdict));
    assert_eq!(killed, kills, "the fault must have struck\n{words}");
}

#[test]
fn without_a_fault_nothing_is_found() {
    check(None, 0);
}

#[test]
fn the_owner_dies_before_the_append() {
    check(Some(("LONJA_CRASH", "before-append:200")), 1);
}

#[test]
fn the_owner_dies_after_the_append_before_the_answer() {
    check(Some(("LONJA_CRASH", "after-append:200")), 1);
}

#[test]
fn the_owner_dies_after_the_answer_before_the_state_store() {
    check(Some(("LONJA_CRASH", "after-answer:200")), 1);
}

#[test]
fn a_projector_dies_inside_a_transaction_of_mysql() {
    check(Some(("LONJA_CRASH", "in-mysql-transaction:20")), 1);
}

#[test]
fn a_projector_dies_inside_a_transaction_of_mongodb() {
    check(Some(("LONJA_CRASH", "in-mongo-transaction:20")), 1);
}

/// PostgreSQL gets rows and checkpoints in one statement, so there is no inside; this is between it and the rest.
#[test]
fn a_projector_dies_after_a_commit_in_postgresql() {
    check(Some(("LONJA_CRASH", "after-postgres-commit:20")), 1);
}

#[test]
fn the_broker_dies_and_comes_back() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let broker = Broker::start();
    let place = Place::new(stack().with_kafka(broker.address.clone()));
    let strike = || {
        std::thread::sleep(Duration::from_secs(2));
        broker.kill();
        std::thread::sleep(Duration::from_secs(1));
        broker.start_again();
    };
    let (verdict, killed, words) = run(&Row { place: &place, fault: None, always: None, meanwhile: &strike });
    assert!(verdict.status.success(), "{}\n{words}", text(&verdict));
    assert_eq!(killed, 0, "the shop outlives its broker\n{words}");
}

#[test]
fn without_deduplication_the_verifier_finds_it() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let place = Place::new(stack());
    let always = Some(("LONJA_MUTANT", "no-dedup"));
    let (verdict, _, words) = run(&Row { place: &place, fault: None, always, meanwhile: &|| {} });
    assert!(!verdict.status.success(), "{}\n{words}", text(&verdict));
    assert!(text(&verdict).contains("I2"), "{}", text(&verdict));
}
