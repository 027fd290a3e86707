//! What the gateway asks for.

use std::cmp::Reverse;

use eventlog::{Checkpoint, Partition};
use lonja_projections::AsOf;
use lonja_projections::store::Store;
use lonja_projections::view::View;
use lonja_projections::views::{Activity, OrderDetail, OrderSummary, StockLevel};
use uuid::Uuid;

use crate::folding::seed;
use crate::history::History;
use crate::homes::Scene;
use crate::running::Running;

async fn projected(scene: &Scene) -> History {
    let mut history = History::new(seed());
    history.go_on(400);
    let running = Running::start(&scene.views, &history, 100).await;
    running.reach_end(&history).await;
    running.stop().await;
    history
}

pub async fn a_customers_orders_are_paged_newest_first(scene: &Scene) {
    let mut history = projected(scene).await;
    let lists = &scene.views.order_lists;
    let all: Vec<OrderSummary> = lists.snapshot().await.unwrap().rows.into_values().collect();
    let mut seen = 0;
    for customer in 0..6 {
        let customer = format!("customer{customer}");
        let mut wanted: Vec<_> = all.iter().filter(|row| row.customer_id == customer).cloned().collect();
        wanted.sort_by_key(|row| Reverse((row.placed_at, row.id)));
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let limit = usize::try_from(1 + history.random.below(7)).unwrap();
            let page = lists.by_customer(&customer, limit, after).await.unwrap();
            assert_eq!(page.next, reflected(lists, &OrderSummary::partitions()).await);
            let page = page.found;
            assert!(page.rows.len() == limit || page.next.is_none());
            found.extend(page.rows);
            after = page.next.map(|cursor| cursor.to_string().parse().unwrap());
            if after.is_none() {
                break;
            }
        }
        seen += found.len();
        assert_eq!(found, wanted, "{customer}");
    }
    assert_eq!(seen, all.len());
    assert!(lists.by_customer("Customer1", 5, None).await.unwrap().found.rows.is_empty(), "names differ by case");
}

pub async fn a_subjects_activities_are_paged_newest_first(scene: &Scene) {
    projected(scene).await;
    let feed = &scene.views.activities;
    let all: Vec<Activity> = feed.snapshot().await.unwrap().rows.into_values().collect();
    let mut subjects: Vec<_> = all.iter().map(|row| row.subject.clone()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    let mut seen = 0;
    for subject in subjects {
        let mut wanted: Vec<_> = all.iter().filter(|row| row.subject == subject).cloned().collect();
        wanted.sort_by_key(|row| Reverse(row.version));
        let home = Activity::home(&wanted[0].key());
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = feed.by_subject(home, &subject, 3, after).await.unwrap();
            assert_eq!(page.next, reflected(feed, &[home]).await);
            let page = page.found;
            found.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        seen += found.len();
        assert_eq!(found, wanted, "{subject}");
    }
    assert_eq!(seen, all.len());
}

pub async fn rows_are_found_by_their_keys(scene: &Scene) {
    projected(scene).await;
    let orders: Vec<OrderDetail> = scene.views.order_details.snapshot().await.unwrap().rows.into_values().collect();
    for order in orders {
        let next = reflected(&scene.views.order_details, &[OrderDetail::home(&order.id)]).await;
        assert_eq!(scene.views.order_details.by_id(order.id).await.unwrap(), AsOf { found: Some(order), next });
    }
    let nobody = Uuid::new_v4();
    let next = reflected(&scene.views.order_details, &[OrderDetail::home(&nobody)]).await;
    assert_eq!(scene.views.order_details.by_id(nobody).await.unwrap(), AsOf { found: None, next });
    let levels: Vec<StockLevel> = scene.views.stock_levels.snapshot().await.unwrap().rows.into_values().collect();
    for level in levels {
        let other_case = level.sku.to_lowercase();
        assert_eq!(scene.views.stock_levels.by_sku(&other_case).await.unwrap().found, None, "SKUs differ by case");
        let next = reflected(&scene.views.stock_levels, &[StockLevel::home(&level.sku)]).await;
        assert_eq!(
            scene.views.stock_levels.by_sku(&level.sku.clone()).await.unwrap(),
            AsOf { found: Some(level), next }
        );
    }
}

/// How far the store has come in `partitions`, as a finder is to say it.
async fn reflected<V: View, S: Store<V>>(store: &S, partitions: &[Partition]) -> Vec<(Partition, u64)> {
    let checkpoints = store.checkpoints().await.unwrap();
    let next = |of| checkpoints.get(of).map_or(0, |checkpoint: &Checkpoint| checkpoint.next);
    partitions.iter().map(|partition| (*partition, next(partition))).collect()
}
