use serde_json::json;

use crate::on_both_logs;
use crate::shop::{TestShop, name, new_key, order};

on_both_logs! {
    what_became_of_a_command_is_told,
    an_unknown_key_is_not_found,
}

async fn what_became_of_a_command_is_told(shop: &TestShop) {
    // A key may hold what a path cannot: it is percent-encoded there.
    let key = format!("{}/%?#", new_key());
    let sold = shop.post_as(&key, "/v1/orders", order(&name("ann"))).await;
    assert_eq!(sold.status, 201);
    let path =
        format!("/v1/commands/{}", key.replace('%', "%25").replace('/', "%2F").replace('?', "%3F").replace('#', "%23"));
    let answer = shop.get(&path).await;
    let position = answer.body["position"].clone();
    assert_eq!(position["topic"], "order.events");
    assert!(position["partition"].is_u64() && position["offset"].is_u64(), "{answer:?}");
    let answer = answer.expect(
        200,
        json!({"key": key, "status": "accepted", "position": position, "version": 1,
            "record_type": "lonja.order.OrderPlaced"}),
    );
    assert_eq!(answer.token(), sold.token());

    let (sku, refused) = (name("tea"), new_key());
    let hold = json!({"reservation_id": "a", "quantity": 2});
    shop.post_as(&refused, &format!("/v1/stock/{sku}/reservations"), hold).await.expect_problem(409, "out_of_stock");
    let answer = shop.get(&format!("/v1/commands/{refused}")).await;
    let told = ["status", "code", "requested", "available", "record_type"].map(|name| answer.body[name].clone());
    assert_eq!(told, [json!("refused"), json!("out_of_stock"), json!(2), json!(0), json!("lonja.log.CommandRefused")]);

    let unchanged = new_key();
    let cancel = format!("/v1/orders/{}/cancel", sold.body["id"].as_str().unwrap());
    shop.post(&cancel, json!({"reason": "late"})).await;
    shop.post_as(&unchanged, &cancel, json!({"reason": "late"})).await;
    let answer = shop.get(&format!("/v1/commands/{unchanged}")).await;
    assert_eq!((&answer.body["status"], &answer.body["version"]), (&json!("unchanged"), &json!(2)));
}

async fn an_unknown_key_is_not_found(shop: &TestShop) {
    shop.get(&format!("/v1/commands/{}", new_key())).await.expect_problem(404, "command_unknown");
    shop.get("/v1/commands/a%20b").await.expect_problem(400, "idempotency_key_invalid");
    shop.get(&format!("/v1/commands/{}", "x".repeat(256))).await.expect_problem(400, "idempotency_key_invalid");
}
