use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::json;

use crate::on_both_logs;
use crate::shop::{TestShop, name};

on_both_logs! { a_thousand_buyers_share_ten_units }

/// Each buyer has a connection of their own and all ask at once.
async fn a_thousand_buyers_share_ten_units(shop: &TestShop) {
    const BUYERS: usize = 1_000;
    let sku = name("tea");
    shop.stock_up(&sku, 10).await;
    let path = format!("/v1/stock/{sku}/reservations");
    let buyers = (0..BUYERS).map(|buyer| {
        let hold = json!({"reservation_id": format!("buyer-{buyer}"), "quantity": 1});
        shop.post(&path, hold)
    });
    let answers = join_all(buyers).await;
    let mut counts = BTreeMap::new();
    for answer in &answers {
        let code = answer.body["code"].as_str().unwrap_or_default().to_owned();
        *counts.entry((answer.status, code)).or_insert(0) += 1;
    }
    let expected = BTreeMap::from([((201, String::new()), 10), ((409, "out_of_stock".to_owned()), BUYERS - 10)]);
    assert_eq!(counts, expected);
    let refused = answers.iter().filter(|answer| answer.status == 409);
    assert!(refused.into_iter().all(|answer| answer.body["requested"] == 1 && answer.body["available"] == 0));
    let last = answers.iter().find(|answer| answer.body["version"] == 11).expect("the tenth reservation is version 11");
    let level = json!({"sku": sku, "on_hand": 10, "reserved": 10, "available": 0, "version": 11});
    shop.get_after(last, &format!("/v1/stock/{sku}")).await.expect(200, level);
}
