//! The export as an analyst calls it, on both logs.

use std::path::Path;

use serde_json::Value;

use crate::own;
use crate::process::{Process, Run, lonja, lonja_in, order, place};

/// What `--json` says: the files, and the sums.
fn read(run: &Run) -> (Vec<Value>, Value) {
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut lines: Vec<Value> = lines.collect();
    let summary = lines.pop().unwrap();
    (lines.into_iter().map(|mut line| line["file"].take()).collect(), summary["summary"].clone())
}

async fn sell(shop: &Process, orders: std::ops::Range<u32>) {
    for number in orders {
        let answer = place(shop, &number.to_string(), &order("ann")).await;
        assert_eq!(answer.0, 201, "{answer:?}");
    }
}

#[tokio::test]
async fn an_embedded_log_is_exported_while_nobody_has_it_open() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (data, to) = (data.path().to_str().unwrap(), to.path().to_str().unwrap());
    let export = |more: &[&str]| lonja(&[&["export", "order.events", "--data", data, "--to", to], more].concat(), &[]);

    let missing = export(&[]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("there is no log in") && missing.stderr.contains("--data"), "{}", missing.stderr);
    assert!(!Path::new(data).join("log").exists(), "an export makes no log");

    let mut shop = Process::start(&["--data", data]);
    sell(&shop, 0..20).await;
    let refused = export(&[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("another process has the log in"), "{}", refused.stderr);
    assert!(refused.stderr.contains("stop that process, export, and start it again"), "{}", refused.stderr);
    assert_eq!(shop.stop("-TERM"), Some(0));

    let (files, summary) = read(&export(&["--json"]));
    assert_eq!((&summary["exported"], &summary["partitions"]), (&Value::from(20), &Value::from(12)));
    assert_eq!(files.len() as u64, summary["files"].as_u64().unwrap());
    let placed: u64 = files.iter().map(|file| file["records"].as_u64().unwrap()).sum();
    assert_eq!(placed, 20);
    for file in &files {
        let name = file["file"].as_str().unwrap();
        assert!(name.starts_with("order.events/OrderPlaced/partition="), "{name}");
        assert_eq!(Path::new(to).join(name).metadata().unwrap().len(), file["bytes"].as_u64().unwrap());
    }
    let again = export(&[]);
    assert!(again.stdout.starts_with("order.events: 0 records exported into 0 files"), "{}", again.stdout);
}

#[test]
fn what_cannot_be_exported_is_a_usage_error() {
    let run = |arguments: &str| lonja_in(&[], arguments);
    let unknown = run("export orders --to x");
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("topics of events are order.events, stock.events"), "{}", unknown.stderr);
    assert_eq!(run("export order.events").code, Some(2), "to where?");
    let registry = run("export order.events --to x --kafka 127.0.0.1:1");
    assert!(registry.code == Some(2) && registry.stderr.contains("--kafka needs --registry"), "{}", registry.stderr);
    let help = run("export --help");
    assert!(help.code == Some(0) && help.stdout.contains("goes on where the last run ended"), "{}", help.stdout);
}

#[tokio::test]
async fn a_log_on_kafka_is_exported_beside_the_shop() {
    let settings = own::settings().await;
    let to = tempfile::tempdir().unwrap();
    let export = format!("export order.events --json --to {}", to.path().display());
    let unprepared = lonja_in(&settings, &export);
    assert_eq!(unprepared.code, Some(3), "{}", unprepared.stderr);
    assert!(unprepared.stderr.contains("run: lonja topics apply"), "{}", unprepared.stderr);
    for step in ["topics", "schemas", "views"] {
        let applied = lonja_in(&settings, &format!("{step} apply"));
        assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    }
    let shop = Process::start_in(&settings, &[]);
    for round in 0..2_u32 {
        sell(&shop, 15 * round..15 * (round + 1)).await;
        let (_, summary) = read(&lonja_in(&settings, &export));
        assert_eq!((&summary["exported"], &summary["unreadable"]), (&Value::from(15), &Value::from(0)), "{summary}");
    }
}
