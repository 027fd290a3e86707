//! The binary as a process: flags, exit codes, signals, kills.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod export;
mod operators;
#[path = "../support/own.rs"]
mod own;
mod process;
mod replays;
mod steps;

use std::time::Duration;

use process::{Process, lonja, order, place};
use serde_json::json;

#[test]
fn a_start_says_where_everything_is_and_how_to_sell() {
    let mut shop = Process::start(&[]);
    let said = shop.said().to_owned();
    let address = shop.address().to_owned();
    for expected in [
        "operators http://127.0.0.1:",
        &format!("listens   http://{address}"),
        "log       embedded, in ",
        "orders    in memory, rebuilt from the log at each start",
        &format!("curl -i http://{address}/v1/orders"),
        "-H 'Idempotency-Key: first-sale'",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    assert_eq!(shop.stop("-TERM"), Some(0));
}

/// What the start says is to be copied and pasted: so that is what is done here.
#[test]
fn the_first_sale_that_a_start_suggests_works() {
    let shop = Process::start(&[]);
    let said = shop.said();
    let (_, command) = said.split_once("A first sale:").unwrap();
    let (command, _) = command.split_once("\n\nSend it twice").unwrap();
    let run = || {
        let done = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    let (first, second) = (run(), run());
    assert!(first.starts_with("HTTP/1.1 201 Created") && !first.contains("idempotent-replayed"), "{first}");
    assert!(second.starts_with("HTTP/1.1 201 Created") && second.contains("idempotent-replayed: true"), "{second}");
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let flags = ["--data", data.path().to_str().unwrap()];
    let mut sold = Vec::new();
    for round in 0..3 {
        let mut shop = Process::start(&flags);
        for number in 0..20 {
            let answer = place(&shop, &format!("{round}-{number}"), &order("ann")).await;
            assert_eq!(answer.0, 201, "{answer:?}");
            sold.push(answer.1["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(shop.stop("-KILL"), None);
    }
    let shop = Process::start(&flags);
    for id in &sold {
        let found = reqwest::get(format!("http://{}/v1/orders/{id}", shop.address())).await.unwrap();
        assert_eq!(found.status(), 200, "{id}");
    }
    let again = place(&shop, "0-0", &order("ann")).await;
    assert_eq!((again.0, again.1["id"].as_str().unwrap()), (201, sold[0].as_str()));
}

#[test]
fn two_processes_do_not_share_a_log() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    let _first = Process::start(&["--data", data]);
    let own_ports = ["--listen", "127.0.0.1:0", "--operators-listen", "127.0.0.1:0"];
    let second = lonja(&[&["serve", "--data", data], &own_ports[..]].concat(), &[]);
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("another process has it open"), "{}", second.stderr);
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    for (taken, free) in [("--listen", "--operators-listen"), ("--operators-listen", "--listen")] {
        let data = data.path().to_str().unwrap();
        let run = lonja(&["serve", "--data", data, taken, &address, free, "127.0.0.1:0"], &[]);
        assert_eq!(run.code, Some(1));
        assert!(run.stderr.contains(&format!("listening on {address} failed")), "{}", run.stderr);
    }
}

#[test]
fn kafka_without_a_registry_is_refused_before_anything_starts() {
    for arguments in [&["serve", "--kafka", "127.0.0.1:1"][..], &["config", "check", "--kafka", "127.0.0.1:1"]] {
        let run = lonja(arguments, &[]);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains("--kafka needs --registry"), "{}", run.stderr);
    }
}

#[test]
fn the_settings_are_shown_with_unit_and_source() {
    let environment = [("LONJA_POSTGRES", "postgres://app:hunter2@h/db"), ("LONJA_COMMAND_TIMEOUT_MS", "250")];
    let run = lonja(&["config", "check", "--listen", "127.0.0.1:9"], &environment);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let row = |name: &str| -> Vec<String> {
        let line = run.stdout.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(row("listen"), ["listen", "127.0.0.1:9", "ADDRESS:PORT", "flag"]);
    assert_eq!(row("command-timeout-ms"), ["command-timeout-ms", "250", "MILLISECONDS", "env"]);
    assert_eq!(row("body-bytes-max"), ["body-bytes-max", "262144", "BYTES", "default"]);
    assert_eq!(row("postgres"), ["postgres", "postgres://app:***@h/db", "URL", "env"]);
    assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"));
    assert_eq!(row("log-format")[3], "default");
}

#[test]
fn settings_that_are_not_usable_have_an_exit_code() {
    for arguments in [
        &["config", "check", "--listen", "nowhere"][..],
        &["config", "check", "--command-timeout-ms", "0"],
        &["config", "check", "--trace-ratio", "1.5"],
        &["config", "check", "--node", "a b"],
        &["serve", "--colour", "red"],
    ] {
        let run = lonja(arguments, &[]);
        assert_eq!(run.code, Some(2), "{arguments:?} {}", run.stderr);
    }
    let help = lonja(&["serve", "--help"], &[("LONJA_POSTGRES", "postgres://app:hunter2@h/db")]);
    assert!(help.code == Some(0) && help.stdout.contains("LONJA_KAFKA") && !help.stdout.contains("hunter2"));
    assert!(lonja(&["--version"], &[]).stdout.starts_with("lonja 0."));
}

#[tokio::test]
async fn the_log_of_the_process_is_json_by_flag() {
    let mut shop = Process::start(&["--log-format", "json"]);
    place(&shop, "a", &order("ann")).await;
    shop.stop("-INT");
    let lines: Vec<serde_json::Value> = shop.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stopping = lines.iter().any(|line| line["message"].as_str().is_some_and(|text| text.starts_with("stopping")));
    assert!(stopping && lines.iter().all(|line| line["level"].is_string()), "{lines:?}");
}

/// One trace goes from the request over the record to the views: the record names it, and its spans are exported.
#[tokio::test]
async fn a_request_is_traced() {
    let collector = process::Collector::start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut shop = Process::start(&["--otlp-endpoint", &collector.url()]);
    let request = reqwest::Client::new().post(format!("http://{}/v1/orders", shop.address()));
    let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    let answer = request.header("Idempotency-Key", "a").json(&json!({})).send().await.unwrap();
    let problem: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(problem["trace_id"], trace);
    let request = reqwest::Client::new().post(format!("http://{}/v1/orders", shop.address()));
    let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    let answer = request.header("Idempotency-Key", "b").json(&order("ann")).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(tokio::task::spawn_blocking(move || shop.stop("-TERM")).await.unwrap(), Some(0));
    let spans = collector.received();
    let id: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&trace[2 * at..2 * at + 2], 16).unwrap()).collect();
    assert!(spans.windows(16).any(|window| window == id), "the trace was not exported");
    for name in ["POST /v1/orders", "decide and append", "project", "order_detail"] {
        assert!(spans.windows(name.len()).any(|window| window == name.as_bytes()), "no span {name:?}");
    }
}

/// Each store's part of a trace that began with the caller.
#[tokio::test]
async fn a_trace_reaches_the_three_stores() {
    let collector = process::Collector::start().await;
    let settings = own::settings().await;
    for step in ["topics", "schemas", "views"] {
        let applied = process::lonja_in(&settings, &format!("{step} apply"));
        assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    }
    let mut shop = Process::start_in(&settings, &["--otlp-endpoint", &collector.url()]);
    let trace = "0af7651916cd43dd8448eb211c80319d";
    let http = reqwest::Client::new();
    let post = |path: &str, body: serde_json::Value| {
        let request = http.post(format!("http://{}{path}", shop.address())).header("Idempotency-Key", path);
        request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01")).json(&body).send()
    };
    let sold = post("/v1/orders", order("ann")).await.unwrap();
    assert_eq!(sold.status(), 201);
    let received = post("/v1/stock/tea/receipts", json!({"quantity": 5, "reference": "r1"})).await.unwrap();
    assert_eq!(received.status(), 201);
    // A page that shows the write is only there when its store has it.
    for (path, answer) in [(sold.headers()["location"].to_str().unwrap(), &sold), ("/v1/stock/tea", &received)] {
        for page in [
            path.to_owned(),
            format!("/v1/activity?subject={}", path.replace("/v1/orders", "order").replace("/v1/", "")),
        ] {
            let request = http.get(format!("http://{}{page}", shop.address()));
            let token = answer.headers()["consistency-token"].clone();
            assert_eq!(request.header("Consistency-Token", token).send().await.unwrap().status(), 200, "{page}");
        }
    }
    assert_eq!(tokio::task::spawn_blocking(move || shop.stop("-TERM")).await.unwrap(), Some(0));
    let spans = collector.spans_of(trace);
    for parts in [
        &["POST /v1/orders"][..],
        &["POST /v1/stock/{sku}/receipts"],
        &["decide and append", "order.events"],
        &["decide and append", "stock.events"],
        &["project", "order_detail"],
        &["project", "order_list"],
        &["project", "stock_level"],
        &["project", "activity_feed"],
    ] {
        let has = |span: &Vec<u8>| parts.iter().all(|part| span.windows(part.len()).any(|at| at == part.as_bytes()));
        assert!(spans.iter().any(has), "no span {parts:?} of the trace among {}", spans.len());
    }
}
