//! Views that are built anew while the shop sells.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::answer::Answer;
use crate::shop::{Home, TestShop, alone, name};

#[test]
fn a_view_is_rebuilt_and_promoted_while_the_shop_sells_embedded() {
    alone(a_view_is_rebuilt_and_promoted_while_the_shop_sells(Home::Embedded));
}

#[test]
fn a_view_is_rebuilt_and_promoted_while_the_shop_sells_real() {
    alone(a_view_is_rebuilt_and_promoted_while_the_shop_sells(Home::Real));
}

/// Customers place an order and see it at once, all the time: on the page of the order and on their list.
async fn shop_on(shop: &TestShop, over: &AtomicBool) -> usize {
    let mut sold = 0;
    while !over.load(Ordering::Relaxed) {
        let customer = name("eve");
        let (id, answer) = shop.sell_to(&customer).await;
        let page = shop.get_after(&answer, &format!("/v1/orders/{id}")).await;
        assert_eq!((page.status, &page.body["customer_id"]), (200, &json!(customer)), "{page:?}");
        let list = shop.get_after(&answer, &format!("/v1/orders?customer_id={customer}")).await;
        assert_eq!((list.status, &list.body["data"][0]["id"]), (200, &json!(id)), "{list:?}");
        sold += 1;
    }
    sold
}

async fn a_view_is_rebuilt_and_promoted_while_the_shop_sells(home: Home) {
    let mut shop = TestShop::start(home, |_| {}).await;
    for _ in 0..20 {
        shop.sell_to(&name("bob")).await;
    }
    let over = AtomicBool::new(false);
    let (sold, ()) = tokio::join!(shop_on(&shop, &over), async {
        for view in ["order_detail", "order_list"] {
            replay(&shop, view).await;
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(sold > 20, "only {sold} orders were sold meanwhile");
    refusals(&shop).await;
    let audit = shop.operate(Method::GET, "/v1/audit").await;
    let entries = audit.body["data"].as_array().unwrap();
    let of_list: Vec<_> = entries.iter().filter(|entry| entry["target"] == "order_list").collect();
    let verbs: Vec<_> = of_list.iter().rev().map(|entry| entry["verb"].as_str().unwrap()).collect();
    let all = [
        "start", "pause", "resume", "pause", "resume", "verify", "promote", "rollback", "promote", "retire", "start",
        "cancel",
    ];
    assert_eq!(verbs, all.map(|verb| format!("replay {verb}")));
    shop.close().await;
}

/// The whole way of one view.
async fn replay(shop: &TestShop, view: &str) {
    let begun = change(shop, "start", json!({"view": view, "rate": 5_000, "reason": "r"})).await;
    assert_eq!((begun.status, &begun.body["operator"]), (202, &json!("ann@desk")), "{begun:?}");
    let (old, new) = (1, begun.body["generation"].as_u64().unwrap());
    on(shop, "pause", view, new, 202).await;
    assert_eq!(standing(shop, view, new).await["state"], "paused");
    on(shop, "resume", view, new, 202).await;
    assert_eq!(standing(shop, view, new).await["rate"], 5_000, "as before");
    on(shop, "pause", view, new, 202).await;
    let faster = json!({"view": view, "generation": new, "rate": 7_000, "reason": "r"});
    assert_eq!(change(shop, "resume", faster).await.body["rate"], 7_000);
    until(shop, view, new, |row| row["lag_events"].as_u64() < Some(100) && row["projector"] == "running").await;
    on(shop, "verify", view, new, 202).await;
    let row = until(shop, view, new, |row| row["verified"].is_object()).await;
    assert!(row["verified"]["differences"] == 0 && row["verified"]["rows"].as_u64() >= Some(20), "{row}");
    assert_eq!((&row["state"], &row["trouble"]), (&json!("verified"), &Value::Null));
    let diff = shop.operate(Method::GET, &format!("/v1/replays/diff?view={view}&generation={new}")).await;
    let counts = ["added", "removed", "changed"].map(|name| diff.body[name].as_u64());
    assert_eq!((diff.status, counts), (200, [Some(0); 3]), "{diff:?}");
    on(shop, "promote", view, new, 202).await;
    until(shop, view, new, |row| row["state"] == "live").await;
    assert_eq!(standing(shop, view, old).await["state"], "previous");
    let back = change(shop, "rollback", json!({"view": view, "reason": "r"})).await;
    assert_eq!((back.status, &back.body["generation"]), (202, &json!(old)), "{back:?}");
    on(shop, "promote", view, new, 202).await;
    // Readers of the former one have switched before its rows go.
    sleep(Duration::from_millis(600)).await;
    on(shop, "retire", view, old, 202).await;
    let again = change(shop, "start", json!({"view": view, "reason": "r"})).await;
    let third = again.body["generation"].as_u64().unwrap();
    assert_eq!((third, &again.body["rate"]), (new + 1, &json!(1_200)));
    on(shop, "cancel", view, third, 202).await;
    let left = shop.operate(Method::GET, &format!("/v1/replays?view={view}")).await;
    let left: Vec<_> = left.body["data"].as_array().unwrap().iter().map(|row| row["generation"].as_u64()).collect();
    assert_eq!(left, [Some(new)]);
}

/// What must not be done is not done.
async fn refusals(shop: &TestShop) {
    let begun = change(shop, "start", json!({"view": "stock_level", "reason": "r"})).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let new = begun.body["generation"].as_u64().unwrap();
    let again = change(shop, "start", json!({"view": "stock_level", "reason": "r"})).await;
    again.expect_problem(409, "generation_in_use");
    for (verb, generation, status, code) in [
        ("pause", 1, 409, "generation_in_use"),
        ("promote", 1, 409, "generation_in_use"),
        ("cancel", 1, 409, "generation_in_use"),
        ("retire", 1, 409, "generation_in_use"),
        ("retire", new, 409, "generation_in_use"),
        ("verify", 99, 404, "generation_not_found"),
    ] {
        let body = json!({"view": "stock_level", "generation": generation, "reason": "r"});
        change(shop, verb, body).await.expect_problem(status, code);
    }
    let back = change(shop, "rollback", json!({"view": "stock_level", "reason": "r"})).await;
    back.expect_problem(409, "generation_in_use");
    let nothing = change(shop, "start", json!({"view": "nothing", "reason": "r"})).await;
    nothing.expect_problem(404, "view_not_found");
    let silent = change(shop, "start", json!({"view": "order_list", "reason": ""})).await;
    silent.expect_problem(422, "invalid_request");
}

async fn change(shop: &TestShop, verb: &str, body: Value) -> Answer {
    shop.operate_with(Method::POST, &format!("/v1/replays/{verb}"), Some("ann@desk"), &body).await
}

async fn on(shop: &TestShop, verb: &str, view: &str, generation: u64, status: u16) {
    let answer = change(shop, verb, json!({"view": view, "generation": generation, "reason": "r"})).await;
    assert_eq!(answer.status, status, "{verb} {view} {generation}: {answer:?}");
}

async fn standing(shop: &TestShop, view: &str, generation: u64) -> Value {
    let list = shop.operate(Method::GET, &format!("/v1/replays?view={view}")).await;
    let rows = list.body["data"].as_array().unwrap();
    rows.iter().find(|row| row["generation"] == generation).cloned().unwrap_or_default()
}

async fn until(shop: &TestShop, view: &str, generation: u64, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let row = standing(shop, view, generation).await;
        if is_so(&row) {
            return row;
        }
        assert!(Instant::now() < deadline, "{row}");
        sleep(Duration::from_millis(50)).await;
    }
}
