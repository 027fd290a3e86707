//! More than one node, on the real servers.

use lonja::cli::Context;
use projections::Kind;
use reqwest::Method;
use serde_json::json;

use crate::shop::{Home, Role, TestShop, alone, name, new_key, order};

/// Enough names to meet partitions of every node.
const MANY: usize = 24;

#[test]
fn every_node_answers_for_all_partitions() {
    alone(async {
        let mut first = TestShop::start(Home::Real, |_| {}).await;
        let mut second = first.beside(Role::All).await;
        for number in 0..MANY {
            let (here, there) = if number % 2 == 0 { (&first, &second) } else { (&second, &first) };
            let (sku, key) = (name("tea"), new_key());
            let stocked = here.stock_up(&sku, 1).await;
            let (path, hold) = (format!("/v1/stock/{sku}/reservations"), json!({"reservation_id": "a", "quantity": 1}));
            let held = here.post_as(&key, &path, hold.clone()).await;
            assert_eq!(held.status, 201, "{held:?}");
            let again = there.post_as(&key, &path, hold).await;
            assert_eq!((again.status, again.is_replayed(), &again.body), (201, true, &held.body));
            let second_unit = json!({"reservation_id": "b", "quantity": 1});
            there.post(&path, second_unit).await.expect_problem(409, "out_of_stock");
            for node in [here, there] {
                let known = node.get(&format!("/v1/commands/{key}")).await;
                assert_eq!((known.status, &known.body["status"]), (200, &json!("accepted")), "{known:?}");
            }
            let read = there.get_after(&stocked, &format!("/v1/stock/{sku}")).await;
            assert_eq!(read.status, 200, "{read:?}");
        }
        first.close().await;
        second.close().await;
    });
}

#[test]
fn what_a_stopped_node_answered_the_other_one_knows() {
    alone(async {
        let mut first = TestShop::start(Home::Real, |_| {}).await;
        let mut second = first.beside(Role::All).await;
        let mut sold = Vec::new();
        for _ in 0..MANY {
            let (customer, key) = (name("ann"), new_key());
            let answer = second.post_as(&key, "/v1/orders", order(&customer)).await;
            assert_eq!(answer.status, 201, "{answer:?}");
            sold.push((customer, key, answer));
        }
        second.close().await;
        for (customer, key, answer) in &sold {
            let again = first.post_as(key, "/v1/orders", order(customer)).await;
            assert_eq!((again.status, again.is_replayed(), &again.body), (201, true, &answer.body), "{again:?}");
        }
        first.close().await;
    });
}

#[test]
fn roles_in_processes_of_their_own_are_a_shop() {
    alone(async {
        let mut whole = TestShop::start(Home::Real, |_| {}).await;
        whole.close().await;
        let orders = whole.beside(Role::Commands(vec![Context::Order])).await;
        let stock = whole.beside(Role::Commands(vec![Context::Stock])).await;
        let relational = whole.beside(Role::Projections(vec![Kind::Postgres, Kind::Mysql])).await;
        let documents = whole.beside(Role::Projections(vec![Kind::Mongo])).await;
        let gateway = whole.beside(Role::Gateway).await;
        for _ in 0..MANY {
            let customer = name("ann");
            let (id, placed) = gateway.sell_to(&customer).await;
            assert_eq!(gateway.get_after(&placed, &format!("/v1/orders/{id}")).await.status, 200);
            let listed = gateway.get_after(&placed, &format!("/v1/orders?customer_id={customer}")).await;
            assert_eq!(listed.body["data"].as_array().unwrap().len(), 1);
            let feed = gateway.get_after(&placed, &format!("/v1/activity?subject=order/{id}")).await;
            assert_eq!(feed.body["data"].as_array().unwrap().len(), 1);
            let sku = name("tea");
            let stocked = gateway.stock_up(&sku, 5).await;
            assert_eq!(gateway.get_after(&stocked, &format!("/v1/stock/{sku}")).await.body["available"], 5);
        }
        for node in [&orders, &stock, &relational, &documents] {
            for path in ["/livez", "/readyz", "/metrics"] {
                assert_eq!(node.get(path).await.status, 200, "{path}");
            }
            assert_eq!(node.get("/v1/stock/tea").await.status, 404, "it serves no shop");
        }
        // Also a process that only keeps views knows who owns what.
        let status = relational.operate(Method::GET, "/v1/status").await.body;
        let owners = status["owners"].as_array().unwrap();
        assert!(owners.len() == 24 && owners.iter().all(|owner| owner["state"] == "running"), "{status:#}");
        let states: Vec<_> = status["views"].as_array().unwrap().iter().map(|view| view["state"].clone()).collect();
        assert_eq!(states, ["live", "live", "live", "elsewhere"]);
        for mut node in [gateway, orders, stock, relational, documents] {
            node.close().await;
        }
    });
}
