//! Events that cannot be applied: their keys wait, in order, and nobody else does.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::Timestamp;
use eventlog::Partition;
use lonja_projections::Views;
use lonja_projections::parking::{Cause, Changes, ParkedEvent, ParkedKey, Queue, Resolution, Verdict, Wishes};
use lonja_projections::store::{Commit, Store};
use lonja_projections::view::View;
use lonja_projections::views::ToEach;
use schemas::Encoded;
use schemas::topics::{ORDER, ORDER_PLACED, STOCK, STOCK_RECEIVED};

use crate::folding::seed;
use crate::history::History;
use crate::homes::{Home, Scene};
use crate::running::{Running, assert_right, reports};

/// A history in which, in the middle, one order and one SKU have an event that nobody can read, with healthy ones behind.
struct Poisoned {
    history: History,
    order: ParkedKey,
    order_bad: u64,
    stock: ParkedKey,
    stock_bad: u64,
}

const SKU: &str = "poisoned-sku";

fn poisoned() -> Poisoned {
    let mut history = History::new(seed());
    history.go_on(200);
    let id = history.random.uuid();
    let name = id.to_string();
    let order =
        ParkedKey { partition: Partition::of(&ORDER, name.as_bytes()), key: Bytes::copy_from_slice(name.as_bytes()) };
    let stock = ParkedKey { partition: Partition::of(&STOCK, SKU.as_bytes()), key: Bytes::from_static(SKU.as_bytes()) };
    let garbage = || Bytes::from_static(b"\0\0\0\0\x07?");
    let bad = |record_type| Encoded { record_type, payload: garbage() };
    let order_bad = history.append(order.partition, &name, 1, bad(&ORDER_PLACED));
    let stock_bad = history.append(stock.partition, SKU, 1, bad(&STOCK_RECEIVED));
    history.go_on(50);
    history.cancel_of(id, 2);
    history.reserve_of(SKU, 2, 6);
    history.reserve_of(SKU, 3, 5);
    history.go_on(50);
    Poisoned { history, order, order_bad, stock, stock_bad }
}

/// The parked events of each view: whose, their offsets, causes and attempts.
struct Waiting;

impl ToEach for Waiting {
    type Outcome = (&'static str, Vec<(ParkedKey, u64, &'static str, u32)>);

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> Self::Outcome {
        let events = store.parking().events(None, 1_000).await.unwrap();
        (V::NAME, events.into_iter().map(|e| (e.parked_key(), e.place.1, e.cause.kind(), e.attempts)).collect())
    }
}

/// Operators wish the same of each view that has these keys.
pub struct Wish(pub Wishes);

impl ToEach for Wish {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        store.parking().wish(self.0.clone()).await.unwrap();
    }
}

fn resolution(key: &ParkedKey, offset: u64, verdict: Verdict) -> Resolution {
    let (reason, operator) = ("the till sent nonsense".to_owned(), "ann".to_owned());
    Resolution { place: (key.partition, offset), verdict, reason, operator, at: Timestamp(7) }
}

/// Waits until so many events wait in each view.
pub async fn until_parked(scene: &Scene, running: &Running, wanted: impl Fn(&str, usize) -> bool) {
    let deadline = tokio::time::Instant::now() + crate::running::PATIENCE;
    loop {
        let waiting = scene.views.each(&Waiting).await;
        if waiting.iter().all(|(view, events)| wanted(view, events.len())) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{waiting:?} {:?}", running.progress.states());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Other keys flow; the poisoned ones wait in order, each with its reason, and readers can know it. After a correction
/// and a discard everything is as if the log had said so.
pub async fn poison_parks_its_key_alone_and_order_is_kept(scene: &Scene) {
    let Poisoned { mut history, order, order_bad, stock, stock_bad } = poisoned();
    let running = Running::start(&scene.views, &history, 50).await;
    running.reach_end(&history).await;
    for (view, waiting) in scene.views.each(&Waiting).await {
        let of = |key: &ParkedKey| -> Vec<_> { waiting.iter().filter(|(other, ..)| other == key).collect() };
        let (orders, stocks) = (of(&order), of(&stock));
        let causes = |events: &[&(ParkedKey, u64, &'static str, u32)]| -> Vec<(&'static str, u32)> {
            assert!(events.is_sorted_by_key(|(_, offset, ..)| *offset), "{events:?}");
            events.iter().map(|(_, _, cause, attempts)| (*cause, *attempts)).collect()
        };
        if view != "stock_level" {
            assert_eq!(causes(&orders), [("unreadable", 1), ("behind", 0)], "{view}");
            assert_eq!(orders[0].1, order_bad);
            assert!(running.progress.parked(view).contains(&order));
        }
        if view == "stock_level" || view == "activity_feed" {
            assert_eq!(causes(&stocks), [("unreadable", 1), ("behind", 0), ("behind", 0)], "{view}");
            assert_eq!(stocks[0].1, stock_bad);
        }
        assert_eq!(waiting.len(), orders.len() + stocks.len(), "{view}");
    }
    // A view is right but for what waits, and the verifier says how much that is.
    assert_right_but(scene, &history, &[2, 2, 3, 5]).await;
    assert!(running.progress.is_caught_up());

    // Tried again as it is, the first one fails again, and nothing behind it overtakes it.
    let retry = Wishes { retry: vec![order.clone(), stock.clone()], resolve: vec![] };
    scene.views.each(&Wish(retry)).await;
    let deadline = tokio::time::Instant::now() + crate::running::PATIENCE;
    while !scene
        .views
        .each(&Waiting)
        .await
        .iter()
        .all(|(_, events)| events.iter().any(|e| e.2 == "unreadable" && e.3 == 2))
    {
        assert!(tokio::time::Instant::now() < deadline, "not tried again");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_right_but(scene, &history, &[2, 2, 3, 5]).await;

    let payload = history.received_payload(SKU, 9);
    let resolve =
        vec![resolution(&stock, stock_bad, Verdict::Correct(payload)), resolution(&order, order_bad, Verdict::Discard)];
    scene.views.each(&Wish(Wishes { retry: vec![order.clone(), stock.clone()], resolve })).await;
    history.go_on(50);
    until_parked(scene, &running, |_, events| events == 0).await;
    running.reach_end(&history).await;
    assert_right(&scene.views, &history).await;
    let level = scene.views.stock_levels.by_sku(SKU).await.unwrap().found.unwrap();
    assert_eq!((level.on_hand, level.available, level.version), (9, 5, 3));
    assert!(running.progress.parked("activity_feed").is_empty());
    running.stop().await;
    // What operators decided holds for another generation, and for a view that is built anew, also by another process.
    scene.views.each(&Another { resolved: 2 }).await;
    forget_rows(scene).await;
    let views = Views::among(&scene.stores);
    let running = Running::start(&views, &history, 50).await;
    running.reach_end(&history).await;
    running.stop().await;
    assert_right(&views, &history).await;
}

/// Another generation knows so many resolutions.
struct Another {
    resolved: usize,
}

impl ToEach for Another {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        let parked = store.numbered(V::GENERATION + 1).parking().parked().await.unwrap();
        assert_eq!(parked.resolutions.len(), self.resolved, "{}", V::NAME);
    }
}

async fn forget_rows(scene: &Scene) {
    if let Some(pool) = &scene.stores.postgres {
        let forget = "DELETE FROM checkpoints; DELETE FROM order_detail_g1; DELETE FROM order_list_g1";
        sqlx::raw_sql(forget).execute(pool).await.unwrap();
    }
    if let Some(pool) = &scene.stores.mysql {
        sqlx::raw_sql("DELETE FROM checkpoints; DELETE FROM stock_level_g1").execute(pool).await.unwrap();
    }
    if let Some(database) = &scene.stores.mongo {
        for collection in ["checkpoints", "activity_feed_g2"] {
            database
                .collection::<mongodb::bson::Document>(collection)
                .delete_many(mongodb::bson::doc! {})
                .await
                .unwrap();
        }
    }
}

/// Reports of every view: no differences, and so many events that wait.
async fn assert_right_but(scene: &Scene, history: &History, waiting: &[usize]) {
    let reports = reports(&scene.views, history).await;
    assert!(reports.iter().all(|report| report.differences == 0), "{reports:#?}");
    assert_eq!(reports.iter().map(|report| report.parked).collect::<Vec<_>>(), waiting);
}

/// What a store keeps of parked events is what was parked; of two that apply them one wins.
pub async fn parked_events_are_kept_and_each_is_applied_once(scene: &Scene) {
    let Poisoned { history, order, stock, .. } = poisoned();
    scene.views.each(&Keep { history: &history, keys: [order, stock] }).await;
}

struct Keep<'h> {
    history: &'h History,
    keys: [ParkedKey; 2],
}

impl ToEach for Keep<'_> {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        store.open().await.unwrap();
        let changes = |parking| Commit::<V> { upserts: vec![], deletes: vec![], moves: vec![], parking, behind: false };
        let mut events: Vec<ParkedEvent> = self.history.parked_by_hand(&self.keys);
        events[0].cause = Cause::Refused { detail: "“no” \\ '\"".into() };
        // As large as a record may be.
        events[1].record.payload = vec![0xff; eventlog::PAYLOAD_BYTES_MAX].into();
        store.commit(changes(Changes { park: events.clone(), ..Changes::default() })).await.unwrap();
        assert_eq!(store.parking().events(None, 100).await.unwrap(), events);
        assert_eq!(store.parking().events(None, 1).await.unwrap(), events[..1]);
        assert_eq!(store.parking().events(Some(&self.keys[1]), 100).await.unwrap(), events[2..]);
        let places: std::collections::BTreeSet<_> = events.iter().map(|event| event.place).collect();
        assert_eq!(store.snapshot().await.unwrap().reflects.parked, places);

        assert!(!store.parking().is_wanted().await.unwrap());
        let resolve = vec![
            resolution(&self.keys[0], 1, Verdict::Discard),
            resolution(&self.keys[1], 2, Verdict::Correct(Bytes::from_static(b"\0\xff"))),
        ];
        store.parking().wish(Wishes { retry: vec![self.keys[1].clone()], resolve: resolve.clone() }).await.unwrap();
        assert!(store.parking().is_wanted().await.unwrap());
        let parked = store.parking().parked().await.unwrap();
        let queue = |wanted| Queue { events: 2, wanted };
        let both = BTreeMap::from([(self.keys[0].clone(), queue(false)), (self.keys[1].clone(), queue(true))]);
        assert_eq!(parked.keys, both);
        assert_eq!(parked.resolutions.into_values().collect::<Vec<_>>(), resolve);

        let second: Vec<_> = events.iter().filter(|event| event.parked_key() == self.keys[1]).cloned().collect();
        let done = Changes { done: second.iter().map(|event| event.place).collect(), ..Changes::default() };
        let failed = ParkedEvent { attempts: 9, ..events[0].clone() };
        let again = Changes { park: vec![failed.clone()], answered: vec![self.keys[1].clone()], ..done.clone() };
        store.commit(changes(again)).await.unwrap();
        assert!(!store.parking().is_wanted().await.unwrap());
        let left = store.parking().events(None, 100).await.unwrap();
        assert_eq!((left.len(), &left[0]), (2, &failed));
        // They do not wait any more, so whoever comes second with them is told.
        let late = store.commit(changes(done)).await;
        assert!(matches!(late, Err(lonja_projections::StoreError::CheckpointMoved { .. })), "{late:?}");
        assert_eq!(store.parking().events(None, 100).await.unwrap(), left);
    }
}

/// The store refuses one row for what it says: its key waits with the store's words, and all others go on.
pub async fn a_row_that_its_store_refuses_parks_its_key(scene: &Scene) {
    let mut history = History::new(seed());
    history.go_on(100);
    refuse_tea(scene).await;
    let id = history.random.uuid();
    history.place_for(id, 77, History::tea());
    history.receive_of("tea-time", 1, 5);
    history.go_on(300);
    let running = Running::start(&scene.views, &history, 200).await;
    running.reach_end(&history).await;
    let view = match scene.home {
        Home::Postgres => "order_list",
        Home::Mysql => "stock_level",
        _ => "activity_feed",
    };
    for (name, waiting) in scene.views.each(&Waiting).await {
        assert_eq!(waiting.iter().any(|(_, _, cause, _)| *cause == "refused"), name == view, "{name}: {waiting:?}");
    }
    assert!(reports(&scene.views, &history).await.iter().all(|report| report.differences == 0));
    accept_tea(scene).await;
    let keys = running.progress.parked(view).iter().cloned().collect();
    scene.views.each(&Wish(Wishes { retry: keys, resolve: vec![] })).await;
    until_parked(scene, &running, |_, events| events == 0).await;
    running.stop().await;
    assert_right(&scene.views, &history).await;
}

async fn refuse_tea(scene: &Scene) {
    if let Some(pool) = &scene.stores.postgres {
        let refuse = "ALTER TABLE order_list_g1 ADD CONSTRAINT no_tea CHECK (customer_id <> 'customer77')";
        sqlx::raw_sql(refuse).execute(pool).await.unwrap();
    }
    if let Some(pool) = &scene.stores.mysql {
        let refuse = "ALTER TABLE stock_level_g1 ADD CONSTRAINT no_tea CHECK (sku <> 'tea-time')";
        sqlx::raw_sql(refuse).execute(pool).await.unwrap();
    }
    if let Some(database) = &scene.stores.mongo {
        let rule = mongodb::bson::doc! { "subject": { "$ne": "stock/tea-time" } };
        let refuse = mongodb::bson::doc! { "collMod": "activity_feed_g2", "validator": rule };
        database.run_command(refuse).await.unwrap();
    }
}

async fn accept_tea(scene: &Scene) {
    if let Some(pool) = &scene.stores.postgres {
        sqlx::raw_sql("ALTER TABLE order_list_g1 DROP CONSTRAINT no_tea").execute(pool).await.unwrap();
    }
    if let Some(pool) = &scene.stores.mysql {
        sqlx::raw_sql("ALTER TABLE stock_level_g1 DROP CONSTRAINT no_tea").execute(pool).await.unwrap();
    }
    if let Some(database) = &scene.stores.mongo {
        let accept = mongodb::bson::doc! { "collMod": "activity_feed_g2", "validator": {} };
        database.run_command(accept).await.unwrap();
    }
}
