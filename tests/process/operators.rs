//! The verbs of operators, as they type them.

use serde_json::Value;

use crate::process::{Lines, Process, follow, lonja_in, order, place};

#[test]
fn a_verb_asks_the_process_that_is_named() {
    let shop = Process::start(&[]);
    let there = [("LONJA_OPERATORS", shop.operators().to_owned())];
    let none = lonja_in(&there, "audit");
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "nobody has changed anything yet\n"), "{}", none.stderr);
    let status = lonja_in(&there, "status");
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    for expected in ["order_detail", "stock.events", "void records met by readers of this process"] {
        assert!(status.stdout.contains(expected), "{}", status.stdout);
    }
    let status: Value = serde_json::from_str(&lonja_in(&there, "status --json").stdout).unwrap();
    assert_eq!(status["views"].as_array().unwrap().len(), 4);
    let json = lonja_in(&there, "audit --json --limit 5");
    assert_eq!((json.code, json.stdout.as_str()), (Some(0), "[]\n"), "{}", json.stderr);
}

#[tokio::test]
async fn the_log_is_read_as_it_was_written() {
    let shop = Process::start(&[]);
    let there = [("LONJA_OPERATORS", shop.operators().to_owned())];
    let mut ids = Vec::new();
    for number in 0..5 {
        let (status, body) = place(&shop, &number.to_string(), &order("ann")).await;
        assert_eq!(status, 201);
        ids.push(body["id"].as_str().unwrap().to_owned());
    }
    let run = |arguments: &str| -> String {
        let run = lonja_in(&there, arguments);
        assert_eq!(run.code, Some(0), "{arguments}: {}", run.stderr);
        run.stdout
    };
    let json = |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let placed = json(&run("log show order.events --limit 100 --json"));
    let placed: Vec<_> = placed.iter().filter(|record| record["type"] == "lonja.order.OrderPlaced").collect();
    assert_eq!(placed.len(), 5);
    assert!(placed.iter().all(|record| record["verdict"] == "valid" && record["payload"]["customer_id"] == "ann"));
    for verb in ["show", "tail"] {
        let one = json(&run(&format!("log {verb} order.events --key {} --json", ids[2])));
        assert_eq!((one.len(), &one[0]["key"]), (1, &Value::from(ids[2].as_str())), "{verb}");
    }
    // Of the twelve claims and five orders the last ones.
    let newest = run("log tail order.events --limit 6");
    assert_eq!(
        (newest.lines().count(), newest.matches(" valid ").count(), newest.matches(" claim ").count()),
        (6, 5, 1)
    );
    let stats: Value = serde_json::from_str(&run("log stats order.events --json")).unwrap();
    let sum = |name: &str| stats["partitions"].as_array().unwrap().iter().filter_map(|row| row[name].as_u64()).sum();
    let (records, valid, claims): (u64, u64, u64) = (sum("records"), sum("valid"), sum("claims"));
    assert_eq!((records, valid, claims), (17, 5, 12));
    assert_eq!(run("log stats stock.events").lines().count(), 13);
    let unknown = lonja_in(&there, "log tail orders");
    assert!(unknown.code == Some(1) && unknown.stderr.contains("topic_not_found"), "{}", unknown.stderr);
    assert_eq!(lonja_in(&there, "log show order.events --from 3").code, Some(2), "an offset of which partition?");
}

/// Until it is told to stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_follows() {
    let shop = Process::start(&[]);
    let mut tail = follow(shop.operators(), "log tail order.events --limit 1 --follow --json");
    let next = |tail: &mut Lines| -> Value { serde_json::from_str(&tail.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next(&mut tail.lines)["verdict"], "claim");
    for number in 0..3 {
        let (_, body) = place(&shop, &number.to_string(), &order("ann")).await;
        let record = tokio::task::block_in_place(|| next(&mut tail.lines));
        assert_eq!((&record["key"], &record["verdict"]), (&body["id"], &Value::from("valid")));
    }
}

#[test]
fn a_process_that_is_not_there_is_named() {
    let nobody = lonja_in(&[], "audit --operators http://127.0.0.1:1");
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("nobody answers at http://127.0.0.1:1"), "{}", nobody.stderr);
    let shop = Process::start(&[]);
    let other = lonja_in(&[], &format!("audit --operators http://{}", shop.address()));
    assert!(other.code == Some(1) && other.stderr.contains("route_not_found"), "{}", other.stderr);
}
