use serde_json::json;

use crate::shop::{Home, TestShop, alone, name, new_key, order};

#[test]
fn a_restart_keeps_everything_embedded() {
    alone(a_restart_keeps_everything(Home::Embedded));
}

#[test]
fn a_restart_keeps_everything_real() {
    alone(a_restart_keeps_everything(Home::Real));
}

/// Also when the local state, a cache of the log, is gone.
async fn a_restart_keeps_everything(home: Home) {
    let mut shop = TestShop::start(home, |_| {}).await;
    let (customer, sku, key, refused) = (name("ann"), name("tea"), new_key(), new_key());
    let sold = shop.post_as(&key, "/v1/orders", order(&customer)).await;
    let path = format!("/v1/orders/{}", sold.body["id"].as_str().unwrap());
    let reservations = format!("/v1/stock/{sku}/reservations");
    let hold = json!({"reservation_id": "a", "quantity": 9});
    shop.stock_up(&sku, 3).await;
    shop.post_as(&refused, &reservations, hold.clone()).await.expect_problem(409, "out_of_stock");

    for without_state in [false, true] {
        shop.close().await;
        if without_state {
            std::fs::remove_dir_all(shop.state_dir()).unwrap();
        }
        shop.open().await;

        // Without a token: nothing that was there before the restart is denied after it.
        let read = shop.get(&path).await;
        assert_eq!((read.status, &read.body["customer_id"]), (200, &json!(customer)));
        assert_eq!(shop.get(&format!("/v1/stock/{sku}")).await.body["available"], 3);
        let again = shop.post_as(&key, "/v1/orders", order(&customer)).await;
        assert_eq!((again.status, again.is_replayed(), &again.body), (201, true, &sold.body));
        let again = shop.post_as(&refused, &reservations, hold.clone()).await.expect_problem(409, "out_of_stock");
        assert!(again.is_replayed());
        let known = shop.get(&format!("/v1/commands/{key}")).await;
        assert_eq!(known.body["status"], "accepted");
        let reused = shop.post_as(&key, "/v1/orders", order(&name("bob"))).await;
        reused.expect_problem(422, "key_reused");
        shop.sell_to(&customer).await;
    }
    shop.close().await;
}
