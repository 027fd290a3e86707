//! A store holds what the log says.

use std::sync::Arc;
use std::time::Duration;

use domain::ids::{Quantity, Sku};
use domain::order::{Line, Lines, UnitPrice};
use eventlog::EventLog;
use lonja_projections::parking::Changes;
use lonja_projections::store::{Commit, Store};
use lonja_projections::verify;
use lonja_projections::view::View;
use lonja_projections::views::ToEach;
use tokio::time::{Instant, sleep};

use crate::history::History;
use crate::homes::Scene;
use crate::running::{PATIENCE, Running, assert_right, reports};

/// Random histories in random batches, with projectors that are stopped and started at random moments.
pub async fn a_store_holds_what_the_log_says_after_any_restarts(scene: &Scene) {
    let mut history = History::new(seed());
    let mut random = history.random.clone();
    for _ in 0..12 {
        history.go_on(60);
        let batch = usize::try_from(1 + random.below(50)).unwrap();
        let running = Running::start(&scene.views, &history, batch).await;
        sleep(Duration::from_millis(random.below(40))).await;
        history.go_on(20);
        if random.below(2) == 0 {
            running.reach_end(&history).await;
        }
        running.stop().await;
    }
    let running = Running::start(&scene.views, &history, 7).await;
    running.reach_end(&history).await;
    assert_right(&scene.views, &history).await;
    assert!(running.progress.is_caught_up());
    running.stop().await;
    the_same_as_in_memory(scene, &history).await;
}

/// Row for row, as one JSON text.
async fn the_same_as_in_memory(scene: &Scene, history: &History) {
    let memory = lonja_projections::Views::among(&lonja_projections::Stores::default());
    let running = Running::start(&memory, history, 1_000).await;
    running.reach_end(history).await;
    running.stop().await;
    let (stored, reference) = (verify::dump(&scene.views).await.unwrap(), verify::dump(&memory).await.unwrap());
    assert!(stored == reference, "the stores differ from memory");
}

/// Each of three projectors for each view works at the same rows; each batch is applied by one of them.
pub async fn two_projectors_at_once_apply_each_event_once(scene: &Scene) {
    let mut history = History::new(seed());
    history.go_on(500);
    let first = Running::start(&scene.views, &history, 3).await;
    let second = Running::start(&scene.views, &history, 4).await;
    for _ in 0..20 {
        history.go_on(20);
        sleep(Duration::from_millis(5)).await;
    }
    first.reach_end(&history).await;
    first.stop().await;
    second.reach_end(&history).await;
    assert_right(&scene.views, &history).await;
    second.stop().await;
}

pub async fn a_write_is_visible_to_who_waits_for_it(scene: &Scene) {
    let mut history = History::new(seed());
    let running = Running::start(&scene.views, &history, 100).await;
    for customer in 0..20 {
        let id = history.random.uuid();
        let line = Line {
            sku: Sku::parse("tea").unwrap(),
            quantity: Quantity::new(1).unwrap(),
            unit_price: UnitPrice::new(5).unwrap(),
        };
        let position = history.place_for(id, customer, Lines::new(vec![line]).unwrap());
        running.progress.wait_for("order_detail", &[position], Instant::now() + PATIENCE).await.unwrap();
        let row = scene.views.order_details.by_id(id).await.unwrap().found.unwrap();
        assert_eq!(row.customer_id, format!("customer{customer}"));
        assert!(running.progress.reflects("order_detail").contains(&(position.0, position.1 + 1)));
    }
    running.stop().await;
}

/// The rows are read in parts, between which they change: each counts as of its own moment.
pub async fn rows_are_compared_while_they_change(scene: &Scene) {
    let mut history = History::new(seed());
    history.go_on(4_000);
    let running = Running::start(&scene.views, &history, 40).await;
    running.reach_end(&history).await;
    for _ in 0..4 {
        history.go_on(1_000);
        let reports = reports(&scene.views, &history).await;
        assert!(reports.iter().all(|report| report.differences == 0), "{reports:#?}");
        assert!(reports.iter().any(|report| report.rows > 2_000), "one part has all of them");
    }
    running.reach_end(&history).await;
    running.stop().await;
    assert_right(&scene.views, &history).await;
}

/// A test that cannot fail proves nothing: one row that is not as it should be is found, in every view.
pub async fn the_verifier_sees_a_row_that_is_wrong(scene: &Scene) {
    let mut history = History::new(seed());
    history.go_on(200);
    let running = Running::start(&scene.views, &history, 50).await;
    running.reach_end(&history).await;
    running.stop().await;
    scene.views.each(&LoseARow).await;
    for report in reports(&scene.views, &history).await {
        assert_eq!(report.differences, 1, "{report:#?}");
        assert!(report.shown[0].stored.is_none() && report.shown[0].folded.is_some(), "{report:#?}");
    }
}

/// Deletes a row behind the projector's back.
struct LoseARow;

impl ToEach for LoseARow {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        let rows = store.snapshot().await.unwrap().rows;
        let key = rows.keys().next().unwrap().clone();
        store
            .commit(Commit {
                behind: false,
                upserts: vec![],
                deletes: vec![key],
                moves: vec![],
                parking: Changes::default(),
            })
            .await
            .unwrap();
    }
}

/// What differs between runs; printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let fixed = std::env::var("LONJA_SEED").ok().map(|seed| seed.parse().unwrap());
    fixed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0)
}

/// The log of a history, as the engine sees it.
pub fn log_of(history: &History) -> Arc<dyn EventLog> {
    Arc::new(history.log.clone())
}
