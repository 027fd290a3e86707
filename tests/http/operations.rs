use reqwest::Method;
use serde_json::json;

use crate::on_both_logs;
use crate::shop::{TestShop, name, new_key};

on_both_logs! {
    health_names_each_part,
    requests_are_measured_by_route,
    there_is_nothing_at_an_unknown_path,
    a_path_knows_its_methods,
    what_cannot_name_anything_is_refused,
    an_unknown_parameter_is_refused,
}

async fn health_names_each_part(shop: &TestShop) {
    shop.get("/livez").await.expect(200, json!({"live": true}));
    // An embedded log has no other nodes to hear of.
    let cluster = shop.config.log.kafka.as_ref().map(|_| "cluster");
    let parts = ["activity_feed", "commands", "order_detail", "order_list", "stock_level"].into_iter().chain(cluster);
    let parts: serde_json::Map<_, _> = parts.map(|part| (part.to_string(), json!({"ready": true}))).collect();
    shop.get("/readyz").await.expect(200, json!({"ready": true, "parts": parts}));
}

async fn requests_are_measured_by_route(shop: &TestShop) {
    let sku = name("tea");
    shop.stock_up(&sku, 1).await;
    shop.get("/v1/nothing/here").await;
    let metrics = shop.get("/metrics").await;
    assert_eq!((metrics.status, metrics.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let text = metrics.body.as_str().unwrap();
    for expected in [
        r#"lonja_http_requests_total{route="/v1/stock/{sku}/receipts",method="POST",status="201"} "#,
        r#"lonja_http_requests_total{route="none",method="GET",status="404"} "#,
        r#"lonja_http_request_seconds_bucket{route="/v1/stock/{sku}/receipts",method="POST",le="0.0005"} "#,
        "# HELP lonja_http_request_seconds ",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    assert!(!text.contains(&sku), "a label holds what a caller sent");
    let named = |mark: &str| -> std::collections::BTreeSet<_> {
        text.lines().filter_map(|line| line.strip_prefix(mark)?.split(' ').next()).collect()
    };
    let (measured, explained) = (named("# TYPE "), named("# HELP "));
    assert!(measured.contains("lonja_append_seconds"), "{measured:?}");
    assert_eq!(measured.difference(&explained).collect::<Vec<_>>(), Vec::<&&str>::new(), "nobody says what it is");
}

async fn there_is_nothing_at_an_unknown_path(shop: &TestShop) {
    for path in ["/", "/v1", "/v1/orders/", "/v1/orders/a/b/c", "/v2/orders", "/v1//orders", "/v1/%ff"] {
        shop.get(path).await.expect_problem(404, "route_not_found");
    }
}

async fn a_path_knows_its_methods(shop: &TestShop) {
    for (method, path, allow) in [
        (Method::PUT, "/v1/orders", "POST,GET,HEAD"),
        (Method::DELETE, "/v1/orders/x", "GET,HEAD"),
        (Method::GET, "/v1/stock/tea/receipts", "POST"),
        (Method::POST, "/v1/stock/tea/reservations/r", "DELETE"),
        (Method::PATCH, "/readyz", "GET,HEAD"),
    ] {
        let answer = shop.send(shop.request(method, path)).await.expect_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
    let head = shop.send(shop.request(Method::HEAD, "/livez")).await;
    assert_eq!((head.status, head.body), (200, json!("")));
}

async fn what_cannot_name_anything_is_refused(shop: &TestShop) {
    let long = "x".repeat(65);
    for (path, pointer, code) in [
        ("/v1/orders/1".to_owned(), "{id}", "invalid_uuid"),
        (format!("/v1/orders/{}", new_key().replace('-', "")), "{id}", "invalid_uuid"),
        (format!("/v1/orders/{}x", new_key()), "{id}", "invalid_uuid"),
        (format!("/v1/stock/{long}"), "{sku}", "invalid_length"),
        ("/v1/stock/a%20b".to_owned(), "{sku}", "invalid_character"),
        ("/v1/stock/a%2Fb".to_owned(), "{sku}", "invalid_character"),
        ("/v1/stock/%00".to_owned(), "{sku}", "invalid_character"),
    ] {
        let answer = shop.get(&path).await.expect_problem(400, "invalid_path");
        assert_eq!(answer.errors(), [(pointer, code)], "{path}");
    }
    shop.get("/v1/stock/%ff").await.expect_problem(400, "invalid_path");
    let answer = shop.delete(&format!("/v1/stock/tea/reservations/{long}")).await;
    assert_eq!(answer.expect_problem(400, "invalid_path").errors(), [("{reservation_id}", "invalid_length")]);
    let answer = shop.get(&format!("/v1/stock/{}", "x".repeat(9_000))).await;
    answer.expect_problem(414, "uri_too_long");
}

async fn an_unknown_parameter_is_refused(shop: &TestShop) {
    for path in [
        "/v1/orders",
        "/v1/orders?customer_id=ann&colour=red",
        "/v1/orders?customer_id=ann&customer_id=bob",
        "/v1/orders?customer_id=ann&limit=x",
        "/v1/orders?customer_id=ann&limit=-1",
        "/v1/activity?subject=order/1&page=2",
    ] {
        shop.get(path).await.expect_problem(400, "invalid_query");
    }
    for (path, pointer, code) in [
        ("/v1/orders?customer_id=a%20b", "?customer_id", "invalid_character"),
        ("/v1/orders?customer_id=", "?customer_id", "invalid_length"),
        ("/v1/orders?customer_id=ann&limit=0", "?limit", "out_of_range"),
        ("/v1/orders?customer_id=ann&limit=101", "?limit", "out_of_range"),
        ("/v1/orders?customer_id=ann&after=x", "?after", "invalid_cursor"),
        ("/v1/activity?subject=cart/1", "?subject", "invalid_subject"),
        ("/v1/activity?subject=order/1", "?subject", "invalid_uuid"),
        ("/v1/activity?subject=stock/tea&after=x", "?after", "invalid_cursor"),
    ] {
        let answer = shop.get(path).await.expect_problem(400, "invalid_query");
        assert_eq!(answer.errors(), [(pointer, code)], "{path}");
    }
}
