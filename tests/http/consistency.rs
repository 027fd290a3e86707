use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::on_both_logs;
use crate::shop::{Home, TestShop, alone, name};

on_both_logs! {
    each_write_is_seen_by_the_read_that_follows_it,
    what_was_read_is_read_again,
    what_is_not_a_token_is_refused,
}

async fn each_write_is_seen_by_the_read_that_follows_it(shop: &TestShop) {
    for _ in 0..50 {
        let customer = name("ann");
        let (id, sold) = shop.sell_to(&customer).await;
        assert_eq!(shop.get_after(&sold, &format!("/v1/orders/{id}")).await.status, 200);
        let listed = shop.get_after(&sold, &format!("/v1/orders?customer_id={customer}")).await;
        assert_eq!(listed.body["data"].as_array().unwrap().len(), 1);
        let feed = shop.get_after(&sold, &format!("/v1/activity?subject=order/{id}")).await;
        assert_eq!(feed.body["data"].as_array().unwrap().len(), 1);
    }
}

async fn what_was_read_is_read_again(shop: &TestShop) {
    let (id, sold) = shop.sell_to(&name("ann")).await;
    let read = shop.get_after(&sold, &format!("/v1/orders/{id}")).await;
    let again = shop.get_after(&read, &format!("/v1/activity?subject=order/{id}")).await;
    assert_eq!(again.body["data"].as_array().unwrap().len(), 1);
    // A token of other partitions than the page's is no obstacle.
    let received = shop.stock_up(&name("tea"), 1).await;
    assert_eq!(shop.get_after(&received, &format!("/v1/orders/{id}")).await.status, 200);
}

async fn what_is_not_a_token_is_refused(shop: &TestShop) {
    // The last one is well-formed base64 of a partition that is not there.
    for bad in ["x", "order.events/0@1", "b3JkZXIuZXZlbnRzLzk5QDE"] {
        let request = shop.request(reqwest::Method::GET, "/v1/orders?customer_id=ann").header("Consistency-Token", bad);
        shop.send(request).await.expect_problem(400, "invalid_consistency_token");
    }
}

#[test]
fn a_write_that_does_not_show_in_time_is_not_denied() {
    alone(async {
        let bound = Duration::from_millis(300);
        let shop = TestShop::start(Home::Embedded, |config| config.http.consistency_timeout = bound).await;
        // `order.events/0@999999`
        let token = "b3JkZXIuZXZlbnRzLzBAOTk5OTk5";
        let started = Instant::now();
        let request =
            shop.request(reqwest::Method::GET, "/v1/orders?customer_id=ann").header("Consistency-Token", token);
        let answer = shop.send(request).await.expect_problem(503, "not_yet_visible");
        assert_eq!(answer.header("retry-after"), "1");
        assert!(started.elapsed() >= bound, "{:?}", started.elapsed());
    });
}

/// As after a failover to a replica that was behind, and before a projector has noticed.
#[test]
fn a_store_that_came_back_with_less_is_not_believed() {
    alone(async {
        let shop = TestShop::start(Home::Real, |_| {}).await;
        let customer = name("ann");
        shop.sell_to(&customer).await;
        let mut store = PgConnection::connect(shop.config.stores.postgres.as_ref().unwrap().expose()).await.unwrap();
        for round in 1..=5 {
            store.execute("CREATE TEMPORARY TABLE replica AS SELECT * FROM checkpoints").await.unwrap();
            let (id, sold) = shop.sell_to(&customer).await;
            let (page, list) = (format!("/v1/orders/{id}"), format!("/v1/orders?customer_id={customer}"));
            assert_eq!(shop.get_after(&sold, &page).await.status, 200);
            shop.get_after(&sold, &list).await;
            let lost = format!(
                "BEGIN; DELETE FROM order_detail_g1 WHERE id = '{id}'; DELETE FROM order_list_g1 WHERE id = '{id}';
                 DELETE FROM checkpoints; INSERT INTO checkpoints SELECT * FROM replica; DROP TABLE replica; COMMIT"
            );
            sqlx::raw_sql(AssertSqlSafe(lost)).execute(&mut store).await.unwrap();
            let (page, list) = tokio::join!(shop.get_after(&sold, &page), shop.get_after(&sold, &list));
            assert_eq!((page.status, list.body["data"].as_array().map(Vec::len)), (200, Some(1 + round)));
        }
    });
}
