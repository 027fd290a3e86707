use serde_json::json;

use crate::on_both_logs;
use crate::shop::{TestShop, name};

on_both_logs! {
    a_delivery_counts_once,
    units_are_held_and_given_up,
    no_more_is_held_than_is_there,
    an_unknown_sku_is_not_found,
    what_happened_to_a_sku_is_listed,
}

async fn a_delivery_counts_once(shop: &TestShop) {
    let sku = name("tea");
    let path = format!("/v1/stock/{sku}/receipts");
    let delivery = json!({"quantity": 10, "reference": "d-1"});
    let first = shop.post(&path, delivery.clone()).await;
    let first = first.expect(201, json!({"sku": sku, "on_hand": 10, "available": 10, "version": 1}));
    assert_eq!(first.header("etag"), "\"v1\"");
    shop.post(&path, delivery).await.expect(200, json!({"sku": sku, "version": 1}));
    let other = shop.post(&path, json!({"quantity": 11, "reference": "d-1"})).await;
    other.expect_problem(409, "receipt_conflict");
    let more = shop.post(&path, json!({"quantity": 5, "reference": "d-2"})).await;
    let more = more.expect(201, json!({"sku": sku, "on_hand": 15, "available": 15, "version": 2}));
    let level = json!({"sku": sku, "on_hand": 15, "reserved": 0, "available": 15, "version": 2});
    let read = shop.get_after(&more, &format!("/v1/stock/{sku}")).await.expect(200, level);
    assert_eq!(read.header("etag"), "\"v2\"");
}

async fn units_are_held_and_given_up(shop: &TestShop) {
    let sku = name("tea");
    shop.stock_up(&sku, 10).await;
    let path = format!("/v1/stock/{sku}/reservations");
    let hold = json!({"reservation_id": "r:1", "quantity": 4});
    let held = json!({"sku": sku, "reservation_id": "r:1", "quantity": 4, "version": 2});
    shop.post(&path, hold.clone()).await.expect(201, held.clone());
    let again = shop.post(&path, hold).await.expect(201, held);
    let level = json!({"sku": sku, "on_hand": 10, "reserved": 4, "available": 6, "version": 2});
    shop.get_after(&again, &format!("/v1/stock/{sku}")).await.expect(200, level);
    let other = shop.post(&path, json!({"reservation_id": "r:1", "quantity": 5})).await;
    other.expect_problem(409, "reservation_conflict");
    let released = shop.delete(&format!("{path}/r:1")).await;
    let released = released.expect(200, json!({"sku": sku, "reservation_id": "r:1", "version": 3}));
    shop.delete(&format!("{path}/r:1")).await.expect_problem(404, "reservation_not_found");
    let level = json!({"sku": sku, "on_hand": 10, "reserved": 0, "available": 10, "version": 3});
    shop.get_after(&released, &format!("/v1/stock/{sku}")).await.expect(200, level);
}

async fn no_more_is_held_than_is_there(shop: &TestShop) {
    let sku = name("tea");
    let path = format!("/v1/stock/{sku}/reservations");
    let empty = shop.post(&path, json!({"reservation_id": "a", "quantity": 1})).await;
    assert_eq!(empty.expect_problem(409, "out_of_stock").body["available"], 0);
    shop.stock_up(&sku, 3).await;
    let answer = shop.post(&path, json!({"reservation_id": "a", "quantity": 4})).await;
    let answer = answer.expect_problem(409, "out_of_stock");
    assert_eq!((&answer.body["requested"], &answer.body["available"]), (&json!(4), &json!(3)));
}

async fn an_unknown_sku_is_not_found(shop: &TestShop) {
    let sku = name("tea");
    shop.get(&format!("/v1/stock/{sku}")).await.expect_problem(404, "stock_item_not_found");
    let released = shop.delete(&format!("/v1/stock/{sku}/reservations/a")).await;
    released.expect_problem(404, "reservation_not_found");
}

async fn what_happened_to_a_sku_is_listed(shop: &TestShop) {
    let sku = name("tea");
    let received = shop.stock_up(&sku, 3).await;
    let feed = shop.get_after(&received, &format!("/v1/activity?subject=stock/{sku}")).await;
    let entry = &feed.body["data"][0];
    assert_eq!((&entry["type"], &entry["version"]), (&json!("StockReceived"), &json!(1)));
    assert_eq!(entry["data"], json!({"reference": "first delivery", "quantity": 3, "available_after": 3}));
    let empty = shop.get(&format!("/v1/activity?subject=stock/{}", name("none"))).await;
    empty.expect(200, json!({"data": [], "next": null, "has_more": false}));
}
