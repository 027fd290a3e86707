use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::on_both_logs;
use crate::shop::{Home, TestShop, alone, name, new_key, order};

on_both_logs! {
    every_command_needs_one_key,
    a_repeat_gets_the_first_answer,
    fifty_at_once_are_one_command,
    a_refusal_is_repeated_too,
    the_spelling_of_a_request_does_not_matter,
    a_key_names_one_request,
}

async fn every_command_needs_one_key(shop: &TestShop) {
    for (method, path, body) in [
        (Method::POST, "/v1/orders".to_owned(), order("ann")),
        (Method::POST, format!("/v1/orders/{}/cancel", new_key()), json!({"reason": "late"})),
        (Method::POST, "/v1/stock/tea/receipts".to_owned(), json!({"quantity": 1, "reference": "d"})),
        (Method::POST, "/v1/stock/tea/reservations".to_owned(), json!({"quantity": 1, "reservation_id": "r"})),
        (Method::DELETE, "/v1/stock/tea/reservations/r".to_owned(), json!(null)),
    ] {
        let request = || shop.request(method.clone(), &path).json(&body);
        shop.send(request()).await.expect_problem(400, "idempotency_key_missing");
        for bad in [String::new(), "a b".into(), "x".repeat(256)] {
            let answer = shop.send(request().header("Idempotency-Key", bad)).await;
            answer.expect_problem(400, "idempotency_key_invalid");
        }
        let twice = request().header("Idempotency-Key", "a").header("Idempotency-Key", "b");
        shop.send(twice).await.expect_problem(400, "idempotency_key_invalid");
    }
}

async fn a_repeat_gets_the_first_answer(shop: &TestShop) {
    let (key, body) = (new_key(), order(&name("ann")));
    let first = shop.post_as(&key, "/v1/orders", body.clone()).await;
    let path = format!("/v1/orders/{}/cancel", first.body["id"].as_str().unwrap());
    assert_eq!(shop.post(&path, json!({"reason": "late"})).await.status, 200);
    let again = shop.post_as(&key, "/v1/orders", body).await;
    assert!(!first.is_replayed() && again.is_replayed());
    assert_eq!((again.status, &again.body), (201, &first.body));
    for header in ["location", "etag", "consistency-token"] {
        assert_eq!(again.header(header), first.header(header));
    }
}

async fn fifty_at_once_are_one_command(shop: &TestShop) {
    let (key, customer) = (new_key(), name("ann"));
    let answers = join_all((0..50).map(|_| shop.post_as(&key, "/v1/orders", order(&customer)))).await;
    assert!(answers.iter().all(|answer| answer.status == 201 && answer.body == answers[0].body));
    assert_eq!(answers.iter().filter(|answer| !answer.is_replayed()).count(), 1);
    let listed = shop.get_after(&answers[0], &format!("/v1/orders?customer_id={customer}")).await;
    assert_eq!(listed.body["data"].as_array().unwrap().len(), 1);
}

async fn a_refusal_is_repeated_too(shop: &TestShop) {
    let (key, sku) = (new_key(), name("tea"));
    let path = format!("/v1/stock/{sku}/reservations");
    let hold = json!({"reservation_id": "a", "quantity": 1});
    let refused = join_all((0..50).map(|_| shop.post_as(&key, &path, hold.clone()))).await;
    assert_eq!(refused.iter().filter(|answer| !answer.is_replayed()).count(), 1);
    shop.stock_up(&sku, 5).await;
    let again = shop.post_as(&key, &path, hold.clone()).await.expect_problem(409, "out_of_stock");
    assert!(again.is_replayed());
    assert!(refused.iter().all(|answer| (answer.status, &answer.body) == (409, &again.body)));
    assert_eq!(shop.post(&path, hold).await.status, 201);
}

async fn the_spelling_of_a_request_does_not_matter(shop: &TestShop) {
    let (key, sku) = (new_key(), name("tea"));
    let send = |path: String, body: &'static str| {
        let request = shop.request(Method::POST, &path).header("Content-Type", "application/json; charset=utf-8");
        shop.send(request.header("Idempotency-Key", &key).body(body))
    };
    let path = format!("/v1/stock/{sku}/receipts");
    let first = send(path.clone(), r#"{"quantity":5,"reference":"é"}"#).await;
    let again = send(path.replace("tea", "%74ea"), "{ \"reference\" : \"\\u00e9\",\n \"quantity\":5 }").await;
    assert_eq!((first.status, again.status, again.is_replayed()), (201, 201, true));
}

async fn a_key_names_one_request(shop: &TestShop) {
    let (key, sku) = (new_key(), name("tea"));
    let (id, _) = shop.sell_to(&name("ann")).await;
    let (receipts, reservations) = (format!("/v1/stock/{sku}/receipts"), format!("/v1/stock/{sku}/reservations"));
    let delivery = json!({"quantity": 5, "reference": "d-1"});
    assert_eq!(shop.post_as(&key, &receipts, delivery.clone()).await.status, 201);
    for (path, body) in [
        (receipts.clone(), json!({"quantity": 6, "reference": "d-1"})),
        (format!("/v1/stock/{}/receipts", name("other")), delivery.clone()),
        (reservations.clone(), json!({"quantity": 5, "reservation_id": "d-1"})),
        (format!("/v1/orders/{id}/cancel"), json!({"reason": "d-1"})),
        ("/v1/orders".to_owned(), order("ann")),
    ] {
        shop.post_as(&key, &path, body).await.expect_problem(422, "key_reused");
    }
    let insisting = shop.request(Method::POST, &receipts).header("If-Match", "\"v1\"").json(&delivery);
    shop.send(insisting.header("Idempotency-Key", &key)).await.expect_problem(422, "key_reused");
    let release = shop.request(Method::DELETE, &format!("{reservations}/d-1")).header("Idempotency-Key", &key);
    shop.send(release).await.expect_problem(422, "key_reused");
    let again = shop.post_as(&key, &receipts, delivery).await;
    assert!(again.status == 201 && again.is_replayed());
}

/// A full queue is said at once, nothing of such a command is begun, and the same key serves for the next attempt.
#[test]
fn what_a_full_queue_refuses_was_not_begun() {
    alone(async {
        let shop = TestShop::start(Home::Embedded, |config| config.commands.queue_max = 1).await;
        let customer = name("ann");
        let mut left: Vec<String> = (0..300).map(|_| new_key()).collect();
        let mut busy = 0;
        while !left.is_empty() {
            let answers = join_all(left.iter().map(|key| shop.post_as(key, "/v1/orders", order(&customer)))).await;
            let mut again = Vec::new();
            for (key, answer) in left.into_iter().zip(answers) {
                if answer.status == 503 {
                    let answer = answer.expect_problem(503, "busy");
                    assert_eq!(answer.header("retry-after"), "1");
                    shop.get(&format!("/v1/commands/{key}")).await.expect_problem(404, "command_unknown");
                    again.push(key);
                } else {
                    assert!(answer.status == 201 && !answer.is_replayed(), "{answer:?}");
                }
            }
            busy += again.len();
            left = again;
        }
        assert!(busy > 0, "the queue was never full");
    });
}
