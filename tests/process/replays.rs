//! Replays, as operators type them.

use serde_json::{Value, json};

use crate::own;
use crate::process::{Process, Run, lonja_in, order, place};

const VIEWS: [&str; 4] = ["order_detail", "order_list", "stock_level", "activity_feed"];

/// A build whose replays forget an event of each batch: comparing with the log finds it, and comparing with the live
/// generation shows where.
#[tokio::test(flavor = "multi_thread")]
async fn a_fold_that_is_wrong_is_found_and_shown() {
    let mut settings = own::settings().await;
    for step in ["topics", "schemas", "views"] {
        let applied = lonja_in(&settings, &format!("{step} apply"));
        assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    }
    settings.push(("LONJA_MUTANT", "whole-fold".to_owned()));
    let shop = Process::start_in(&settings, &[]);
    sell(&shop).await;
    let there = [("LONJA_OPERATORS", shop.operators().to_owned())];
    for view in VIEWS {
        let run = |arguments: String| lonja_in(&there, &arguments);
        let begun = run(format!("replay start {view} --reason planted"));
        assert_eq!(begun.code, Some(0), "{}", begun.stderr);
        let new = generation(&run(format!("replay status {view} --json")));
        until_caught_up(&there, view, new);
        let verified = run(format!("replay verify {view} {new} --reason planted"));
        assert_eq!(verified.code, Some(1), "{view}: {}", verified.stdout);
        assert!(verified.stderr.contains("rows are not what the log says"), "{view}: {}", verified.stderr);
        let diff = run(format!("replay diff {view} {new} --json"));
        let diff: Value = serde_json::from_str(&diff.stdout).unwrap();
        let count = |name: &str| diff[name].as_u64().unwrap();
        assert!(count("removed") + count("changed") > 0 && count("added") == 0, "{diff}");
        assert_eq!(diff["samples"].as_array().unwrap().len() as u64, (count("removed") + count("changed")).min(20));
        let live = run(format!("replay verify {view} {} --reason planted", new - 1));
        assert_eq!(live.code, Some(0), "{view}: the live one is right: {}{}", live.stdout, live.stderr);
    }
}

/// A fold is tried on a part of the log, and what is folded only in part is not promoted.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_log_is_tried_first() {
    let shop = Process::start(&[]);
    sell(&shop).await;
    let there = [("LONJA_OPERATORS", shop.operators().to_owned())];
    let run = |arguments: &str| lonja_in(&there, arguments);
    let refused = |arguments: &str, code: &str| {
        let Run { code: exit, stderr, .. } = run(arguments);
        assert!(exit == Some(1) && stderr.contains(code), "{arguments}: {stderr}");
    };
    refused("replay start order_list --from 2026-01-31T12:00:00Z --reason r", "scope_unfit");
    refused("replay start activity_feed --from 5 --reason r", "invalid_request");
    refused("replay start activity_feed --from yesterday --reason r", "invalid_request");
    refused("replay start order_list --partitions stock.events/1 --reason r", "invalid_request");
    let begun = run("replay start order_list --partitions order.events/3,order.events/7 --reason r");
    assert!(begun.stdout.contains("of order.events/3, order.events/7 alone"), "{}{}", begun.stdout, begun.stderr);
    until_caught_up(&there, "order_list", 2);
    assert_eq!(run("replay verify order_list 2 --reason r").code, Some(0));
    refused("replay promote order_list 2 --reason r", "scope_unfit");
    assert_eq!(run("replay widen order_list 2 --reason r").code, Some(0));
    until_caught_up(&there, "order_list", 2);
    let verified = run("replay verify order_list 2 --reason r");
    assert!(verified.code == Some(0) && verified.stdout.contains("0 of 40 rows differ"), "{}", verified.stdout);
    assert_eq!(run("replay promote order_list 2 --reason r").code, Some(0));
    let offset = run("replay start activity_feed --partitions order.events/3 --from 2 --reason r");
    assert!(offset.stdout.contains("from 2 on"), "{}{}", offset.stdout, offset.stderr);
    let number = generation(&run("replay status activity_feed --json"));
    refused(&format!("replay widen activity_feed {number} --reason r"), "scope_unfit");
    until_caught_up(&there, "activity_feed", number);
    assert_eq!(run(&format!("replay verify activity_feed {number} --reason r")).code, Some(0));
}

/// Forty orders, and stock in forty parts.
async fn sell(shop: &Process) {
    let http = reqwest::Client::new();
    for number in 0..40 {
        assert_eq!(place(shop, &format!("o{number}"), &order("ann")).await.0, 201);
        let url = format!("http://{}/v1/stock/sku{number}/receipts", shop.address());
        let request = http.post(url).header("Idempotency-Key", format!("d{number}"));
        let receipt = json!({"quantity": 5, "reference": format!("r{number}")});
        assert_eq!(request.json(&receipt).send().await.unwrap().status(), 201);
    }
}

/// The newest one.
fn generation(status: &Run) -> u64 {
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    status["data"].as_array().unwrap().iter().filter_map(|row| row["generation"].as_u64()).max().unwrap()
}

fn until_caught_up(there: &[(&str, String)], view: &str, generation: u64) {
    for _ in 0..200 {
        let status = lonja_in(there, &format!("replay status {view} --json"));
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        let rows = status["data"].as_array().unwrap();
        let row = rows.iter().find(|row| row["generation"] == generation).unwrap();
        if row["lag_events"] == 0 && row["projector"] == "running" {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("generation {generation} of {view} does not catch up");
}
