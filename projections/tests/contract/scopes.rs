//! Generations that are folded from a part of the log.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Timestamp;
use eventlog::Partition;
use lonja_projections::generations::{Begin, Notes, Scope, compare};
use lonja_projections::store::Store;
use lonja_projections::view::View;
use lonja_projections::views::ToEach;
use tokio::time::sleep;

use crate::folding::seed;
use crate::generations::{Step, run};
use crate::history::History;
use crate::homes::Scene;

/// Some partitions are folded first, and the rest when that looks right; a feed begins later than the log.
pub async fn a_part_of_the_log_is_folded_first(scene: &Scene) {
    let mut history = History::new(seed());
    history.go_on(200);
    sleep(Duration::from_millis(5)).await;
    let begin = crate::log::now();
    history.go_on(200);
    let running = run(scene, &history).await;
    let views = running.views.clone();
    views.each(&Parts { step: Step { running: &running, history: &history }, begin }).await;
    running.stop().await;
}

struct Parts<'s> {
    step: Step<'s>,
    begin: Timestamp,
}

impl ToEach for Parts<'_> {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        self.step.reach_end::<V>(V::GENERATION).await;
        self.widened(store).await;
        if V::ROWS_OF_ONE_RECORD {
            self.later(store).await;
        }
    }
}

impl Parts<'_> {
    async fn create<V: View, S: Store<V>>(&self, store: &S, scope: Scope) -> u32 {
        let notes = Notes { started_at: Some(1), scope, ..Notes::default() };
        store.generations().create(notes).await.unwrap()
    }

    async fn widened<V: View, S: Store<V>>(&self, store: &S) {
        let live = store.numbered(V::GENERATION).snapshot().await.unwrap().rows;
        let home = V::home(live.keys().next().unwrap());
        let number = self.create(store, Scope { partitions: vec![home], from: None }).await;
        let new = store.numbered(number);
        self.step.reach_end_of::<V>(number, &[home]).await;
        let reflects: Vec<Partition> = self.reflects::<V>(number).into_keys().collect();
        assert_eq!(reflects, [home], "{}", V::NAME);
        let rows = new.snapshot().await.unwrap().rows;
        assert!(rows.keys().all(|key| V::home(key) == home) && rows.len() < live.len(), "{}", V::NAME);
        assert_eq!(self.step.differences(store, number).await, 0, "{}", V::NAME);
        let diff = compare(&store.numbered(V::GENERATION), &new, 5).await.unwrap();
        assert_eq!((diff.same, diff.samples.len()), (rows.len() as u64, 0), "{diff:?}");
        assert!(!store.generations().promote(V::GENERATION, number).await.unwrap(), "{} lacks most", V::NAME);
        self.step.note(store, number, |notes| notes.scope = Scope::default()).await;
        self.step.reach_end::<V>(number).await;
        assert_eq!(new.snapshot().await.unwrap().rows, live, "{}", V::NAME);
        assert_eq!(self.step.differences(store, number).await, 0, "{}", V::NAME);
        assert!(store.generations().promote(V::GENERATION, number).await.unwrap(), "{}", V::NAME);
        assert!(store.generations().promote(number, V::GENERATION).await.unwrap(), "{}", V::NAME);
    }

    async fn later<V: View, S: Store<V>>(&self, store: &S) {
        let all = store.numbered(V::GENERATION).snapshot().await.unwrap().rows;
        let number = self.create(store, Scope { from: Some(Begin::Time(self.begin.0)), ..Scope::default() }).await;
        self.step.reach_end::<V>(number).await;
        let rows = store.numbered(number).snapshot().await.unwrap().rows;
        assert!(!rows.is_empty() && rows.len() < all.len(), "{} of {} rows", rows.len(), all.len());
        assert!(rows.iter().all(|(key, row)| all.get(key) == Some(row)));
        assert_eq!(self.step.differences(store, number).await, 0, "{}", V::NAME);
        let diff = compare(&store.numbered(V::GENERATION), &store.numbered(number), 5).await.unwrap();
        let missing = (all.len() - rows.len()) as u64;
        assert_eq!((diff.added, diff.removed, diff.changed), (0, missing, 0), "{diff:?}");
    }

    fn reflects<V: View>(&self, number: u32) -> BTreeMap<Partition, u64> {
        self.step.running.progress.generation_reflects(V::NAME, number).into_iter().collect()
    }
}
