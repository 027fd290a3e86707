//! What goes wrong around a projector.

use lonja_projections::store::{Snapshot, Store};
use lonja_projections::view::View;
use lonja_projections::views::ToEach;
use lonja_projections::{ViewState, Views};
use mongodb::bson::doc;
use schemas::topics::{ORDER, STOCK};

use crate::folding::seed;
use crate::history::History;
use crate::homes::{Home, Scene};
use crate::running::{Running, assert_right, retrying, stopped};

/// A log with a past, folded to its end.
async fn folded(scene: &Scene) -> History {
    let mut history = History::new(seed());
    history.go_on(300);
    let running = Running::start(&scene.views, &history, 50).await;
    running.reach_end(&history).await;
    running.stop().await;
    history
}

/// What all stores hold, comparable.
async fn content(views: &Views) -> Vec<String> {
    views.each(&Content).await
}

struct Content;

impl ToEach for Content {
    type Outcome = String;

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> String {
        let Snapshot { rows, checkpoints } = store.snapshot().await.unwrap();
        format!("{rows:?} {checkpoints:?}")
    }
}

async fn assert_all_stop(scene: &Scene, history: &History, because: &str) {
    let before = content(&scene.views).await;
    let running = Running::start(&scene.views, history, 50).await;
    for (view, _) in running.progress.states() {
        let ViewState::Stopped { reason } = running.state(view, stopped).await else { unreachable!() };
        assert!(reason.contains("is not the log that was folded") && reason.contains(because), "{reason}");
    }
    assert!(!running.progress.is_caught_up());
    running.stop().await;
    assert!(content(&scene.views).await == before, "a stopped view changed its store");
}

pub async fn a_log_that_lost_its_tail_stops_the_views(scene: &Scene) {
    let mut history = folded(scene).await;
    let some = |topic: &schemas::Topic| {
        let ends = history.log.ends().into_iter();
        ends.filter(|(partition, _)| partition.topic == topic).max_by_key(|(_, end)| *end).unwrap().0
    };
    let partitions = [some(&ORDER), some(&STOCK)];
    for partition in partitions {
        history.log.lose_last(partition);
    }
    assert_all_stop(scene, &history, "it ends at").await;
    for partition in partitions {
        history.append_garbage(partition);
    }
    assert_all_stop(scene, &history, "is another one").await;
}

pub async fn another_log_stops_the_views(scene: &Scene) {
    let history = folded(scene).await;
    history.log.become_another();
    assert_all_stop(scene, &history, "its topic was").await;
}

/// It is not skipped, and it is named; views of the other topic go on.
pub async fn an_unreadable_record_stops_its_views_alone(scene: &Scene) {
    let mut history = folded(scene).await;
    let partition = eventlog::Partition { topic: &ORDER, number: 4 };
    let offset = history.append_garbage(partition);
    let running = Running::start(&scene.views, &history, 50).await;
    for view in ["order_detail", "order_list", "activity_feed"] {
        let ViewState::Stopped { reason } = running.state(view, stopped).await else { unreachable!() };
        assert!(reason.contains(&format!("{partition}@{offset}")), "{reason}");
    }
    history.go_on(100);
    let stock: Vec<_> = history.log.ends().into_iter().filter(|(partition, _)| partition.topic == &STOCK).collect();
    running.reach("stock_level", &stock).await;
    assert!(!running.progress.is_caught_up());
    running.stop().await;
}

pub async fn a_log_that_does_not_answer_is_waited_for(scene: &Scene) {
    let mut history = folded(scene).await;
    let running = Running::start(&scene.views, &history, 50).await;
    for (view, _) in running.progress.states() {
        running.state(view, |state| *state == ViewState::Live).await;
    }
    history.log.set_unavailable(true);
    for (view, _) in running.progress.states() {
        running.state(view, retrying).await;
    }
    history.go_on(100);
    history.log.set_unavailable(false);
    running.reach_end(&history).await;
    running.stop().await;
    assert_right(&scene.views, &history).await;
}

/// The server refuses the rows of a transaction: the checkpoints of the same transaction do not move. When it takes
/// them again, the view goes on by itself.
pub async fn a_store_that_refuses_rows_moves_no_checkpoint(scene: &Scene) {
    let mut history = folded(scene).await;
    let before = content(&scene.views).await;
    let (view, at) = match scene.home {
        Home::Postgres => ("order_detail", 0),
        Home::Mysql => ("stock_level", 2),
        Home::Mongo => ("activity_feed", 3),
        Home::Memory => unreachable!("memory refuses nothing"),
    };
    refuse(scene).await;
    history.go_on(200);
    let running = Running::start(&scene.views, &history, 50).await;
    let ViewState::Retrying { reason } = running.state(view, retrying).await else { unreachable!() };
    assert!(reason.contains(&format!("writing {view} failed")), "{reason}");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(content(&scene.views).await[at] == before[at], "a refused transaction left something");
    accept(scene).await;
    running.reach_end(&history).await;
    running.stop().await;
    assert_right(&scene.views, &history).await;
}

async fn refuse(scene: &Scene) {
    if let Some(pool) = &scene.stores.postgres {
        let refuse = "ALTER TABLE order_detail_g1 ADD CONSTRAINT refused CHECK (false) NOT VALID";
        sqlx::raw_sql(refuse).execute(pool).await.unwrap();
    }
    if let Some(pool) = &scene.stores.mysql {
        let refuse = "CREATE TRIGGER refused BEFORE INSERT ON stock_level_g1 FOR EACH ROW SIGNAL SQLSTATE '45000'";
        sqlx::raw_sql(refuse).execute(pool).await.unwrap();
    }
    if let Some(database) = &scene.stores.mongo {
        let refuse = doc! { "collMod": "activity_feed_g2", "validator": { "refused": { "$exists": true } } };
        database.run_command(refuse).await.unwrap();
    }
}

async fn accept(scene: &Scene) {
    if let Some(pool) = &scene.stores.postgres {
        sqlx::raw_sql("ALTER TABLE order_detail_g1 DROP CONSTRAINT refused").execute(pool).await.unwrap();
    }
    if let Some(pool) = &scene.stores.mysql {
        sqlx::raw_sql("DROP TRIGGER refused").execute(pool).await.unwrap();
    }
    if let Some(database) = &scene.stores.mongo {
        database.run_command(doc! { "collMod": "activity_feed_g2", "validator": {} }).await.unwrap();
    }
}

pub async fn a_store_that_is_down_delays_itself_alone(scene: &Scene) {
    let nowhere = match scene.home {
        Home::Postgres => "postgres://lonja@127.0.0.1:1/lonja",
        Home::Mysql => "mysql://lonja@127.0.0.1:1/lonja",
        Home::Mongo => "mongodb://127.0.0.1:1/?directConnection=true",
        Home::Memory => unreachable!("memory is never down"),
    };
    let stores = lonja_projections::Stores::new(&scene.home.at(nowhere.to_owned())).await.unwrap();
    let views = Views::among(&stores);
    let mut history = History::new(seed());
    history.go_on(200);
    let running = Running::start(&views, &history, 50).await;
    for (view, _) in running.progress.states() {
        let lives_there = match scene.home {
            Home::Postgres => view.starts_with("order"),
            Home::Mysql => view == "stock_level",
            _ => view == "activity_feed",
        };
        if lives_there {
            running.state(view, retrying).await;
        } else {
            running.reach(view, &history.log.ends()).await;
        }
    }
    assert!(!running.progress.is_caught_up());
    running.stop().await;
}
