//! Whatever is sent: a clear 4xx, and nothing in the log.

use reqwest::Method;
use serde_json::{Value, json};

use crate::on_both_logs;
use crate::shop::{TestShop, new_key};

on_both_logs! {
    each_broken_rule_is_told,
    malformed_bodies_are_refused_and_leave_nothing,
    a_body_has_a_type_and_a_limit,
}

/// The routes with a body, and a body that each of them accepts.
fn routes() -> [(String, Value); 4] {
    [
        ("/v1/orders".to_owned(), crate::shop::order("ann")),
        (format!("/v1/orders/{}/cancel", new_key()), json!({"reason": "late"})),
        ("/v1/stock/tea/receipts".to_owned(), json!({"quantity": 1, "reference": "d"})),
        ("/v1/stock/tea/reservations".to_owned(), json!({"quantity": 1, "reservation_id": "r"})),
    ]
}

async fn each_broken_rule_is_told(shop: &TestShop) {
    let body = json!({"customer_id": "a b", "currency": "eur", "lines": [
        {"sku": "tea", "quantity": 0, "unit_price": 1},
        {"sku": "", "quantity": 10_000, "unit_price": -1},
    ]});
    let answer = shop.post("/v1/orders", body).await.expect_problem(422, "invalid_request");
    let expected = [
        ("/customer_id", "invalid_character"),
        ("/currency", "unknown_currency"),
        ("/lines/0/quantity", "out_of_range"),
        ("/lines/1/sku", "invalid_length"),
        ("/lines/1/quantity", "out_of_range"),
        ("/lines/1/unit_price", "out_of_range"),
    ];
    assert_eq!(answer.errors(), expected);
    for (path, body, expected) in [
        ("/v1/stock/tea/receipts", json!({"quantity": 1_000_001, "reference": "d"}), ("/quantity", "out_of_range")),
        ("/v1/stock/tea/receipts", json!({"quantity": 1, "reference": "a\u{7}"}), ("/reference", "invalid_character")),
        (
            "/v1/stock/tea/receipts",
            json!({"quantity": 1, "reference": "x".repeat(201)}),
            ("/reference", "invalid_length"),
        ),
        ("/v1/stock/tea/reservations", json!({"quantity": -5, "reservation_id": "r"}), ("/quantity", "out_of_range")),
        (&format!("/v1/orders/{}/cancel", new_key()), json!({"reason": "  "}), ("/reason", "invalid_length")),
    ] {
        let answer = shop.post(path, body).await.expect_problem(422, "invalid_request");
        assert_eq!(answer.errors(), [expected]);
    }
}

/// Ways to spoil any of the bodies.
fn spoiled(good: &Value) -> Vec<Vec<u8>> {
    let text = good.to_string();
    let field = good.as_object().unwrap().keys().next().unwrap().clone();
    let inside = text.trim_start_matches('{').to_owned();
    let with_first = |value: &str| format!("{{\"{field}\":{value},{inside}").into_bytes();
    let replaced = |value: Value| {
        let mut body = good.clone();
        body[&field] = value;
        body.to_string().into_bytes()
    };
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    vec![
        Vec::new(),
        text.as_bytes()[..text.len() - 1].to_vec(),
        format!("{text} {text}").into_bytes(),
        format!("{text}\0").into_bytes(),
        format!("[{text}]").into_bytes(),
        format!("\u{feff}{text}").into_bytes(),
        text.replacen('{', "{\"extra\":1,", 1).into_bytes(),
        text.replacen('"', "\"\u{1}", 1).into_bytes(),
        with_first("\"twice\""),
        replaced(json!(null)),
        replaced(json!({"a": 1})),
        replaced(deep),
        replaced(json!(1e300)),
        format!("{{\"{field}\":{}", "[".repeat(100_000)).into_bytes(),
        format!("{{\"{field}\":{}}}", "9".repeat(10_000)).into_bytes(),
        format!("{{\"{field}\":1e{}}}", "9".repeat(1_000)).into_bytes(),
        [b"{\"", field.as_bytes(), b"\":\"\xff\xfe\"}"].concat(),
        format!("{{\"{field}\":\"\\ud800\"}}").into_bytes(),
        b"null".to_vec(),
        b"{}".to_vec(),
    ]
}

async fn malformed_bodies_are_refused_and_leave_nothing(shop: &TestShop) {
    for (path, good) in routes() {
        for body in spoiled(&good) {
            let key = new_key();
            let request = shop.request(Method::POST, &path).header("Content-Type", "application/json");
            let answer = shop.send(request.header("Idempotency-Key", &key).body(body.clone())).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            assert_eq!(answer.status, 400, "{path} {shown} {answer:?}");
            let answer = answer.expect_problem(400, "malformed_request");
            assert_eq!(answer.errors().len(), 1, "{path} {shown}");
            shop.get(&format!("/v1/commands/{key}")).await.expect_problem(404, "command_unknown");
        }
    }
}

async fn a_body_has_a_type_and_a_limit(shop: &TestShop) {
    for (path, good) in routes() {
        let request = || shop.request(Method::POST, &path).header("Idempotency-Key", new_key());
        for media in ["text/plain", "application/xml", "application/json; charset=utf-16"] {
            let answer = shop.send(request().header("Content-Type", media).body(good.to_string())).await;
            answer.expect_problem(415, "unsupported_media_type");
        }
        shop.send(request().body(good.to_string())).await.expect_problem(415, "unsupported_media_type");
        let padded = |bytes: usize| format!("{good}{}", " ".repeat(bytes - good.to_string().len()));
        let json = || request().header("Content-Type", "application/json");
        assert_ne!(shop.send(json().body(padded(262_144))).await.status, 413);
        shop.send(json().body(padded(262_145))).await.expect_problem(413, "body_too_large");
    }
}
