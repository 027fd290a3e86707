//! What goes wrong around a projector.

use std::time::Duration;

use lonja_projections::parking::{Changes, Wishes};
use lonja_projections::store::{Checkpoints, Commit, Move, Snapshot, Store};
use lonja_projections::view::View;
use lonja_projections::views::ToEach;
use lonja_projections::{ViewState, Views, verify};
use mongodb::bson::doc;
use parking_lot::Mutex;
use schemas::topics::{ORDER, STOCK};
use tokio::time::{Instant, sleep};

use crate::folding::seed;
use crate::history::History;
use crate::homes::{Home, Scene};
use crate::poison::{Wish, until_parked};
use crate::running::{PATIENCE, Running, assert_right, reports, retrying, stopped};

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
        let Snapshot { rows, reflects } = store.snapshot().await.unwrap();
        format!("{rows:?} {reflects:?}")
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

/// The server refuses every row: after a few the view waits instead of parking all there is. When the server takes rows
/// again, the view goes on by itself, and what was parked can be tried again.
pub async fn a_store_that_refuses_everything_is_waited_for(scene: &Scene) {
    let mut history = folded(scene).await;
    let view = match scene.home {
        Home::Postgres => "order_detail",
        Home::Mysql => "stock_level",
        Home::Mongo => "activity_feed",
        Home::Memory => unreachable!("memory refuses nothing"),
    };
    let rows = verify::dump(&scene.views).await.unwrap();
    refuse(scene).await;
    history.go_on(400);
    let running = Running::start(&scene.views, &history, 50).await;
    let ViewState::Retrying { reason } = running.state(view, retrying).await else { unreachable!() };
    assert!(reason.contains("one event after the other") && reason.contains(view), "{reason}");
    assert_eq!(verify::dump(&scene.views).await.unwrap()[view], rows[view], "a refused transaction left something");
    let parked: Vec<_> = running.progress.parked(view).iter().cloned().collect();
    assert!(!parked.is_empty() && parked.len() <= 8, "{parked:?}");
    accept(scene).await;
    running.reach_end(&history).await;
    assert!(reports(&scene.views, &history).await.iter().all(|report| report.differences == 0));
    scene.views.each(&Wish(Wishes { retry: parked, resolve: vec![] })).await;
    until_parked(scene, &running, |_, events| events == 0).await;
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

/// As when an asynchronous replica takes over that was behind. No event comes that could tell.
pub async fn a_store_that_comes_back_with_less_is_folded_again(scene: &Scene) {
    let mut history = History::new(seed());
    history.go_on(150);
    let running = Running::start(&scene.views, &history, 50).await;
    running.reach_end(&history).await;
    let history = Mutex::new(history);
    scene.views.each(&FailOver { running: &running, history: &history }).await;
    running.stop().await;
    assert_right(&scene.views, &history.into_inner()).await;
}

struct FailOver<'r> {
    running: &'r Running,
    history: &'r Mutex<History>,
}

impl ToEach for FailOver<'_> {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        self.reach_end::<V>().await;
        let replica = store.snapshot().await.unwrap();
        self.history.lock().go_on(150);
        self.reach_end::<V>().await;
        let lost = store.snapshot().await.unwrap();
        let next = |checkpoints: &Checkpoints, partition| checkpoints.get(&partition).map_or(0, |at| at.next);
        let moves = replica.reflects.checkpoints.iter().map(|(&partition, &to)| Move {
            partition,
            expected: next(&lost.reflects.checkpoints, partition),
            to,
        });
        // A commit cannot take a partition back to nothing: one that the replica had none of stays as it is.
        let goes = |key: &&V::Key| {
            !replica.rows.contains_key(*key) && replica.reflects.checkpoints.contains_key(&V::home(key))
        };
        let deletes = lost.rows.keys().filter(goes).cloned().collect();
        let upserts = replica.rows.into_values().collect();
        let back = Commit { behind: false, upserts, deletes, moves: moves.collect(), parking: Changes::default() };
        store.commit(back).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        while store.checkpoints().await.unwrap() != lost.reflects.checkpoints {
            assert!(Instant::now() < deadline, "{} stays behind", V::NAME);
            sleep(Duration::from_millis(20)).await;
        }
        self.reach_end::<V>().await;
        assert_eq!(store.snapshot().await.unwrap().rows, lost.rows, "{}", V::NAME);
    }
}

impl FailOver<'_> {
    async fn reach_end<V: View>(&self) {
        let deadline = Instant::now() + PATIENCE;
        let ends = self.history.lock().log.ends();
        let at_end = || {
            let reflects = self.running.progress.reflects(V::NAME);
            reflects.iter().all(|(partition, next)| {
                ends.iter().find(|(other, _)| other == partition).map_or(0, |(_, end)| *end) == *next
            })
        };
        while !at_end() {
            assert!(Instant::now() < deadline, "{} does not reach the end", V::NAME);
            sleep(Duration::from_millis(5)).await;
        }
    }
}
