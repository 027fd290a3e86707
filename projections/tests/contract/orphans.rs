//! Transactions that nobody goes on with.

use std::time::Duration;

use lonja_projections::store::Store;
use lonja_projections::view::View;
use lonja_projections::views::ToEach;
use mongodb::bson::{Document, doc};
use mongodb::{ClientSession, Database};
use tokio::time::{sleep, timeout};

use crate::folding::seed;
use crate::history::History;
use crate::homes::Scene;
use crate::running::{Running, assert_right};

/// The server itself ends them after a minute.
const BEFORE_THE_SERVER: Duration = Duration::from_secs(30);

pub async fn a_transaction_at_work_is_left_alone(scene: &Scene) {
    let database = scene.stores.mongo.clone().unwrap();
    let mut working = begin(&database).await;
    scene.views.each(&Open).await;
    working.commit_transaction().await.unwrap();
    let mut left_open = begin(&database).await;
    sleep(Duration::from_millis(1_500)).await;
    scene.views.each(&Open).await;
    left_open.commit_transaction().await.unwrap_err();
}

pub async fn what_a_predecessor_left_open_just_now_ends_soon(scene: &Scene) {
    let database = scene.stores.mongo.clone().unwrap();
    scene.views.each(&Open).await;
    let mut left_open = begin(&database).await;
    let mut history = History::new(seed());
    history.go_on(100);
    let running = Running::start(&scene.views, &history, 50).await;
    timeout(BEFORE_THE_SERVER, running.reach_end(&history)).await.unwrap();
    running.stop().await;
    left_open.commit_transaction().await.unwrap_err();
    assert_right(&scene.views, &history).await;
}

/// A transaction that has locked every checkpoint that is there.
async fn begin(database: &Database) -> ClientSession {
    let mut session = database.client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let checkpoints = database.collection::<Document>("checkpoints");
    let touch = checkpoints.update_many(doc! {}, doc! { "$set": { "touched": true } });
    touch.session(&mut session).await.unwrap();
    session
}

/// What a projector does first.
struct Open;

impl ToEach for Open {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        store.open().await.unwrap();
    }
}
