use serde_json::json;

use crate::on_both_logs;
use crate::shop::{TestShop, name, new_key, order};

on_both_logs! {
    a_sale_is_answered_as_documented,
    a_sale_is_read_back,
    an_order_is_cancelled_once,
    an_unknown_order_is_not_found,
    a_command_may_insist_on_a_version,
    a_customers_orders_are_listed_newest_first,
    an_order_has_up_to_two_hundred_lines,
    an_amount_that_does_not_fit_is_refused,
    what_happened_to_an_order_is_listed,
}

async fn a_sale_is_answered_as_documented(shop: &TestShop) {
    let answer = shop.post("/v1/orders", order(&name("ann"))).await;
    let id = answer.body["id"].as_str().unwrap().to_owned();
    let total = json!({"amount": 799, "currency": "EUR"});
    let answer = answer.expect(201, json!({"id": id, "version": 1, "status": "placed", "total": total}));
    assert_eq!(answer.header("location"), format!("/v1/orders/{id}"));
    assert_eq!(answer.header("etag"), "\"v1\"");
    assert!(!answer.token().is_empty() && !answer.is_replayed());
}

async fn a_sale_is_read_back(shop: &TestShop) {
    let customer = name("ann");
    let (id, sold) = shop.sell_to(&customer).await;
    let answer = shop.get_after(&sold, &format!("/v1/orders/{id}")).await;
    let placed_at = answer.body["placed_at"].clone();
    assert!(placed_at.as_str().unwrap().ends_with('Z'), "{placed_at}");
    let lines = order(&customer)["lines"].clone();
    let total = json!({"amount": 799, "currency": "EUR"});
    let answer = answer.expect(
        200,
        json!({"id": id, "customer_id": customer, "status": "placed", "lines": lines, "total": total,
            "placed_at": placed_at, "version": 1}),
    );
    assert_eq!(answer.header("etag"), "\"v1\"");
    assert!(!answer.token().is_empty());
}

async fn an_order_is_cancelled_once(shop: &TestShop) {
    let (id, _) = shop.sell_to(&name("ann")).await;
    let path = format!("/v1/orders/{id}/cancel");
    let cancelled = json!({"id": id, "version": 2, "status": "cancelled"});
    let first = shop.post(&path, json!({"reason": "late"})).await.expect(200, cancelled.clone());
    assert_eq!(first.header("etag"), "\"v2\"");
    let again = shop.post(&path, json!({"reason": "still late"})).await.expect(200, cancelled);
    assert!(!again.is_replayed());
    let read = shop.get_after(&again, &format!("/v1/orders/{id}")).await;
    assert_eq!((&read.body["status"], &read.body["version"]), (&json!("cancelled"), &json!(2)));
}

async fn an_unknown_order_is_not_found(shop: &TestShop) {
    let id = new_key();
    shop.get(&format!("/v1/orders/{id}")).await.expect_problem(404, "order_not_found");
    let (_, sold) = shop.sell_to(&name("ann")).await;
    let absent = shop.get_after(&sold, &format!("/v1/orders/{id}")).await;
    absent.expect_problem(404, "order_not_found");
    let refused = shop.post(&format!("/v1/orders/{id}/cancel"), json!({"reason": "late"})).await;
    let refused = refused.expect_problem(404, "order_not_found");
    assert!(!refused.token().is_empty());
}

async fn a_command_may_insist_on_a_version(shop: &TestShop) {
    let (id, _) = shop.sell_to(&name("ann")).await;
    let cancel = |tag: &str| {
        let request = shop.request(reqwest::Method::POST, &format!("/v1/orders/{id}/cancel"));
        request.header("Idempotency-Key", new_key()).header("If-Match", tag).json(&json!({"reason": "late"}))
    };
    let stale = shop.send(cancel("\"v3\"")).await.expect_problem(412, "version_conflict");
    assert_eq!(stale.body["current_version"], 1);
    shop.send(cancel("v1")).await.expect_problem(400, "invalid_if_match");
    assert_eq!(shop.send(cancel("\"v1\"")).await.status, 200);
    assert_eq!(shop.send(cancel("*")).await.status, 200);
}

async fn a_customers_orders_are_listed_newest_first(shop: &TestShop) {
    let customer = name("ann");
    let mut sold = Vec::new();
    for _ in 0..3 {
        sold.push(shop.sell_to(&customer).await);
        // The list is in the order of the milliseconds at which they were placed.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let path = format!("/v1/orders?customer_id={customer}&limit=2");
    // The last order alone is not the last position of each partition.
    let mut first = shop.get_after(&sold[0].1, &path).await;
    for (_, seen) in &sold {
        first = shop.get_after(seen, &path).await;
    }
    let ids = |page: &crate::answer::Answer| -> Vec<String> {
        let rows = page.body["data"].as_array().unwrap();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((ids(&first), &first.body["has_more"]), (vec![sold[2].0.clone(), sold[1].0.clone()], &json!(true)));
    let next = first.body["next"].as_str().unwrap();
    let second = shop.get(&format!("{path}&after={next}")).await;
    assert_eq!(ids(&second), [sold[0].0.clone()]);
    assert_eq!((&second.body["has_more"], &second.body["next"]), (&json!(false), &json!(null)));
    let row = &second.body["data"][0];
    assert_eq!((&row["customer_id"], &row["total"]["amount"]), (&json!(customer), &json!(799)));
    let nobody = shop.get(&format!("/v1/orders?customer_id={}", name("bob"))).await;
    nobody.expect(200, json!({"data": [], "next": null, "has_more": false}));
}

async fn an_order_has_up_to_two_hundred_lines(shop: &TestShop) {
    let line = json!({"sku": "tea", "quantity": 9_999, "unit_price": 1});
    let order = |lines: usize| json!({"customer_id": "ann", "currency": "EUR", "lines": vec![line.clone(); lines]});
    let most = shop.post("/v1/orders", order(200)).await;
    assert_eq!((most.status, &most.body["total"]["amount"]), (201, &json!(1_999_800)));
    for lines in [0, 201] {
        let answer = shop.post("/v1/orders", order(lines)).await.expect_problem(422, "invalid_request");
        assert_eq!(answer.errors(), [("/lines", "invalid_length")]);
    }
}

async fn an_amount_that_does_not_fit_is_refused(shop: &TestShop) {
    let body = json!({"customer_id": "ann", "currency": "EUR", "lines": [
        {"sku": "tea", "quantity": 2, "unit_price": i64::MAX}]});
    let key = new_key();
    shop.post_as(&key, "/v1/orders", body.clone()).await.expect_problem(422, "amount_overflow");
    assert!(shop.post_as(&key, "/v1/orders", body).await.expect_problem(422, "amount_overflow").is_replayed());
}

async fn what_happened_to_an_order_is_listed(shop: &TestShop) {
    let (id, _) = shop.sell_to(&name("ann")).await;
    let cancelled = shop.post(&format!("/v1/orders/{id}/cancel"), json!({"reason": "late"})).await;
    let path = format!("/v1/activity?subject=order/{id}");
    let feed = shop.get_after(&cancelled, &path).await;
    let kinds: Vec<_> = feed.body["data"].as_array().unwrap().iter().map(|entry| entry["type"].clone()).collect();
    assert_eq!(kinds, ["OrderCancelled", "OrderPlaced"]);
    let entry = &feed.body["data"][0];
    assert_eq!((&entry["version"], &entry["subject"]), (&json!(2), &json!(format!("order/{id}"))));
    assert_eq!(entry["data"], json!({"reason": "late", "total": 799, "currency": "EUR"}));
    let first = shop.get(&format!("{path}&limit=1")).await;
    let next = first.body["next"].as_str().unwrap();
    let second = shop.get(&format!("{path}&limit=1&after={next}")).await;
    assert_eq!((&second.body["data"][0]["type"], &second.body["has_more"]), (&json!("OrderPlaced"), &json!(false)));
}
