//! Events that cannot be applied, from the storefront's side and from the operators'.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use eventlog::embedded::EmbeddedLog;
use eventlog::kafka::{KafkaLog, Settings};
use eventlog::{EventLog, Partition, Record, Tail};
use reqwest::Method;
use runtime::Config;
use schemas::Envelope;
use schemas::topics::{self, ORDER, ORDER_CANCELLED};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::answer::Answer;
use crate::shop::{Home, TestShop, alone, name};

#[test]
fn what_is_parked_is_shown_and_resolved_embedded() {
    alone(what_is_parked_is_shown_and_resolved(Home::Embedded));
}

#[test]
fn what_is_parked_is_shown_and_resolved_real() {
    alone(what_is_parked_is_shown_and_resolved(Home::Real));
}

/// Views that fold orders.
const VIEWS: [&str; 3] = ["order_detail", "order_list", "activity_feed"];

async fn what_is_parked_is_shown_and_resolved(home: Home) {
    let mut shop = TestShop::start(home, |_| {}).await;
    let customer = name("ann");
    let ((poisoned, _), (healthy, _)) = (shop.sell_to(&customer).await, shop.sell_to(&customer).await);
    shop.close().await;
    let (partition, offset) = poison(&shop.config, &poisoned);
    shop.open().await;

    // The storefront: all others flow, and nobody is told that what is shown is all there is.
    let (_, sold) = shop.sell_to(&customer).await;
    until(&shop, |total| total == 3).await;
    let path = format!("/v1/orders/{poisoned}");
    let shown = shop.get_after(&sold, &path).await;
    assert_eq!((shown.status, &shown.body["status"], shown.header("lonja-parked")), (200, &json!("placed"), "true"));
    assert_eq!(shop.get(&format!("/v1/orders/{healthy}")).await.header("lonja-parked"), "");
    let list = shop.get_after(&sold, &format!("/v1/orders?customer_id={customer}")).await;
    let parked: Vec<_> = list.body["data"].as_array().unwrap().iter().filter(|row| row["parked"] == true).collect();
    assert!(parked.len() == 1 && parked[0]["id"] == json!(poisoned), "{list:?}");
    let feed = shop.get(&format!("/v1/activity?subject=order/{poisoned}")).await;
    assert_eq!(feed.header("lonja-parked"), "true");

    // The operators: what, why, and how much of it.
    let view = shop.operate(Method::GET, "/v1/parked?view=order_detail").await;
    let row = &view.body["data"][0];
    assert_eq!((&view.body["total"], &row["key"], &row["partition"]), (&json!(1), &json!(poisoned), &json!(partition)));
    assert_eq!((&row["cause"], &row["offset"], &row["attempts"]), (&json!("unreadable"), &json!(offset), &json!(1)));
    assert_eq!(row["type"], "lonja.order.OrderCancelled");
    let groups = shop.operate(Method::GET, "/v1/parked/groups").await;
    assert_eq!(groups.body["data"].as_array().unwrap().len(), 3, "{groups:?}");
    let query = format!("view=order_detail&partition={partition}&key={poisoned}");
    let events = shop.operate(Method::GET, &format!("/v1/parked/events?{query}")).await;
    assert_eq!(events.body["data"][0]["payload"], "cG9pc29u", "{events:?}");

    refusals(&shop, &partition, &poisoned).await;
    let key = |view: &str| json!({"view": view, "partition": partition, "key": poisoned, "reason": "ticket 7"});
    change(&shop, "retry", key("order_detail")).await.expect(
        202,
        json!({"view": "order_detail", "keys": [{"partition": partition, "key": poisoned}], "dry_run": false}),
    );
    until(&shop, |total| total == 3).await;
    let again = shop.operate(Method::GET, "/v1/parked?view=order_detail").await;
    assert_eq!(again.body["data"][0]["attempts"], 2, "{again:?}");

    let mut correction = key("order_detail");
    correction["offset"] = json!(offset);
    correction["event"] = json!({
        "order_id": poisoned, "reason": "late", "currency": "EUR", "total": 799, "cancelled_at": 1_700_000_000_000_i64,
    });
    assert_eq!(change(&shop, "correct", correction).await.status, 202);
    until(&shop, |total| total == 2).await;
    let shown = shop.get(&path).await;
    assert_eq!((&shown.body["status"], &shown.body["version"]), (&json!("cancelled"), &json!(2)));
    assert_eq!(shown.header("lonja-parked"), "");
    for view in &VIEWS[1..] {
        assert_eq!(change(&shop, "discard", key(view)).await.status, 202);
    }
    until(&shop, |total| total == 0).await;
    change(&shop, "discard", key("order_list")).await.expect_problem(404, "not_parked");

    // Everything that was done is on record, with what it changed.
    let audit = shop.operate(Method::GET, "/v1/audit").await;
    let entries = audit.body["data"].as_array().unwrap();
    let verbs: Vec<_> = entries.iter().map(|entry| entry["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["parked discard", "parked discard", "parked correct", "parked retry"]);
    assert!(entries.iter().all(|entry| entry["operator"] == "ann@desk" && entry["reason"] == "ticket 7"));
    assert_eq!(entries[2]["before"]["events"][0]["offset"], json!(offset));
    assert_eq!(entries[2]["after"]["total"], 799);
    shop.close().await;
}

/// What must not be done is not done, and leaves nothing on record.
async fn refusals(shop: &TestShop, partition: &str, key: &str) {
    let body = json!({"view": "order_detail", "partition": partition, "key": key, "reason": "x"});
    let nameless = shop.operate_with(Method::POST, "/v1/parked/retry", None, &body).await;
    nameless.expect_problem(400, "operator_missing");
    for (verb, field, value, status, code) in [
        ("retry", "reason", json!(" "), 422, "invalid_request"),
        ("retry", "view", json!("nothing"), 404, "view_not_found"),
        ("retry", "key", json!("nobody"), 404, "not_parked"),
        ("retry", "key", Value::Null, 422, "invalid_request"),
        ("retry", "surprise", json!(1), 400, "malformed_request"),
        ("discard", "offset", json!(0), 404, "not_parked"),
        ("correct", "reason", json!("x"), 400, "malformed_request"),
    ] {
        let mut body = body.clone();
        body[field] = value;
        change(shop, verb, body).await.expect_problem(status, code);
    }
    let events = shop.operate(Method::GET, "/v1/parked?view=order_detail").await;
    let mut body = body;
    body["offset"] = events.body["data"][0]["offset"].clone();
    body["event"] = json!({"order_id": key});
    change(shop, "correct", body).await.expect_problem(422, "correction_invalid");
    let audit = shop.operate(Method::GET, "/v1/audit").await;
    assert_eq!(audit.body["data"], json!([]));
}

async fn change(shop: &TestShop, verb: &str, body: Value) -> Answer {
    shop.operate_with(Method::POST, &format!("/v1/parked/{verb}"), Some("ann@desk"), &body).await
}

/// Waits until so many aggregates are parked in all views, and none is about to be tried again.
async fn until(shop: &TestShop, wanted: impl Fn(u64) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let list = shop.operate(Method::GET, "/v1/parked").await;
        let settled = list.body["data"].as_array().unwrap().iter().all(|row| row["wanted"] == false);
        if settled && wanted(list.body["total"].as_u64().unwrap()) {
            return;
        }
        assert!(Instant::now() < deadline, "{list:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Appends, while no owner runs, an event of `order` that counts and that nobody can read: its partition and offset.
fn poison(config: &Config, order: &str) -> (String, u64) {
    let log = open(config);
    let partition = Partition::of(&ORDER, order.as_bytes());
    let end = log.end(partition).unwrap();
    let mut tail = Tail::open(&*log, &[(partition, None)]).unwrap();
    let mut last = None;
    while tail.next(partition) < end {
        last = tail.poll(100, Duration::from_secs(1)).unwrap().pop().or(last);
    }
    let before = Envelope::clone(&last.unwrap().envelope);
    let envelope = Envelope {
        id: Uuid::new_v4(),
        record_type: ORDER_CANCELLED.name.into(),
        subject: format!("order/{order}"),
        term: tail.terms(partition).current.unwrap(),
        sequence: tail.terms(partition).sequence + 1,
        version: 2,
        ..before
    };
    let record = Record {
        key: Bytes::copy_from_slice(order.as_bytes()),
        headers: Arc::new(envelope.to_headers(ORDER.aggregate)),
        payload: Bytes::from_static(b"poison"),
    };
    let (tell, told) = mpsc::channel();
    let appender = log.appender(Arc::new(move |report: eventlog::Report| tell.send(report.outcome).unwrap())).unwrap();
    appender.append(partition, &record, 0).unwrap();
    let appended = told.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    (partition.to_string(), appended.offset.unwrap())
}

fn open(config: &Config) -> Box<dyn EventLog> {
    let Some(kafka) = &config.log.kafka else {
        let every: Vec<_> = topics::every().collect();
        return Box::new(EmbeddedLog::open(&Path::new(&config.node.data).join("log"), &every).unwrap());
    };
    let prefix = config.log.topic_prefix.clone();
    Box::new(KafkaLog::connect(kafka, Settings { prefix, ..Settings::default() }).unwrap())
}
