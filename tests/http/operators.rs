//! The operators' API of a running shop.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::on_both_logs;
use crate::shop::{TestShop, name};

on_both_logs! {
    the_audit_of_a_new_shop_is_empty,
    an_order_is_found_in_the_log,
    the_status_has_every_view_and_every_owner,
    what_cannot_be_asked_is_a_problem,
}

async fn the_audit_of_a_new_shop_is_empty(shop: &TestShop) {
    let none = json!({"data": [], "next": null, "has_more": false});
    shop.operate(Method::GET, "/v1/audit").await.expect(200, none.clone());
    shop.operate(Method::GET, "/v1/audit?after=7&limit=3").await.expect(200, none);
}

async fn an_order_is_found_in_the_log(shop: &TestShop) {
    let (id, _) = shop.sell_to(&name("ann")).await;
    let page = shop.operate(Method::GET, &format!("/v1/log/order.events?key={id}")).await;
    assert_eq!(page.status, 200, "{page:?}");
    let record = &page.body["data"][0];
    assert_eq!((&record["key"], &record["verdict"]), (&json!(id), &json!("valid")));
    assert_eq!(record["type"], "lonja.order.OrderPlaced");
    assert_eq!(record["payload"]["total"], 799, "{record}");
    let stats = shop.operate(Method::GET, "/v1/log/order.events/stats").await;
    assert_eq!((stats.status, &stats.body["complete"]), (200, &json!(true)));
    let owners = shop.operate(Method::GET, "/v1/log/lonja.owners").await;
    let known = if shop.config.log.kafka.is_some() { 200 } else { 404 };
    assert_eq!(owners.status, known, "only a cluster has owners that announce themselves: {owners:?}");
}

async fn the_status_has_every_view_and_every_owner(shop: &TestShop) {
    shop.sell_to(&name("ann")).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let status = shop.operate(Method::GET, "/v1/status").await;
        assert_eq!(status.status, 200, "{status:?}");
        let views = status.body["views"].as_array().unwrap();
        let names: Vec<_> = views.iter().map(|view| view["view"].as_str().unwrap()).collect();
        assert_eq!(names, ["order_detail", "order_list", "stock_level", "activity_feed"]);
        let stores: Vec<_> = views.iter().map(|view| view["store"].as_str().unwrap()).collect();
        let real = shop.config.log.kafka.is_some();
        let expected = if real { ["postgres", "postgres", "mysql", "mongo"] } else { ["memory"; 4] };
        assert_eq!((stores, status.body.get("owners_error")), (expected.into(), None));
        let owners = status.body["owners"].as_array().unwrap();
        assert_eq!(owners.len(), 24);
        // Other tests use the shop, so how much is behind is not told here.
        let runs = |owner: &Value| {
            owner["state"] == "running" && owner["lag"].is_u64() && owner["node"] == shop.config.node.node
        };
        let measured = |view: &Value| {
            let lag = &view["lag"];
            // The first measurement has no trend yet.
            view["state"] == "live" && lag["seconds"].is_f64() && lag["trend_per_second"].is_f64()
        };
        if owners.iter().all(runs) && views.iter().all(measured) {
            return;
        }
        assert!(Instant::now() < deadline, "{:#}", status.body);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn what_cannot_be_asked_is_a_problem(shop: &TestShop) {
    for query in ["limit=0", "limit=1001", "limit=x", "after=-1", "before=3"] {
        let answer = shop.operate(Method::GET, &format!("/v1/audit?{query}")).await;
        answer.expect_problem(400, "invalid_query");
    }
    shop.operate(Method::GET, "/v1/orders").await.expect_problem(404, "route_not_found");
    let answer = shop.operate(Method::DELETE, "/v1/audit").await.expect_problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "GET,HEAD");
}
