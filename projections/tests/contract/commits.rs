//! Rows and checkpoints move together, or not at all.

use std::collections::BTreeMap;
use std::time::Duration;

use eventlog::{Checkpoint, Partition, Terms};
use lonja_projections::StoreError;
use lonja_projections::pace::{Pace, Rests};
use lonja_projections::parking::Changes;
use lonja_projections::store::{Commit, Move, Store};
use lonja_projections::verify::{Exceptions, fold_all};
use lonja_projections::view::View;
use lonja_projections::views::ToEach;
use schemas::Term;
use uuid::Uuid;

use crate::folding::{log_of, seed};
use crate::history::History;
use crate::homes::Scene;

pub async fn of_two_commits_from_one_checkpoint_one_wins(scene: &Scene) {
    let history = history();
    scene.views.each(&Race(&history)).await;
}

pub async fn one_stale_checkpoint_among_many_keeps_all_back(scene: &Scene) {
    let history = history();
    scene.views.each(&Stale(&history)).await;
}

pub async fn rows_are_replaced_and_deleted(scene: &Scene) {
    let history = history();
    scene.views.each(&Replace(&history)).await;
}

fn history() -> History {
    let mut history = History::new(seed());
    history.go_on(600);
    history
}

/// The rows of `V` after a part of the log: the second half of each partition is left out, or not.
fn rows<V: View>(history: &History, halved: bool) -> Vec<V> {
    let ends = history.log.ends().into_iter().filter(|(partition, _)| V::TOPICS.contains(&partition.topic));
    let until: BTreeMap<_, _> = ends.map(|(p, end)| (p, if halved { end.div_ceil(2) } else { end })).collect();
    let rows = fold_all::<V>(
        &*log_of(history),
        &history.codec,
        &until,
        &Exceptions::default(),
        |_, _| true,
        &mut Rests::at(Pace::Unbounded),
    )
    .unwrap();
    assert!(rows.len() > 3, "the history is too short for {}", V::NAME);
    let rows: BTreeMap<_, _> = rows.into_iter().collect();
    rows.into_values().collect()
}

/// A checkpoint in which every bit matters.
fn checkpoint(next: u64) -> Checkpoint {
    let random = || Uuid::new_v4().as_u128();
    let term = Term { number: u64::MAX >> 1, nonce: random() };
    Checkpoint {
        next,
        terms: Terms { current: next.is_multiple_of(2).then_some(term), sequence: next },
        topic_id: Uuid::new_v4(),
        last_record: random(),
    }
}

fn moves<V: View>(expected: u64, next: u64) -> Vec<Move> {
    let partitions = V::partitions().into_iter();
    partitions.map(|partition| Move { partition, expected, to: checkpoint(next) }).collect()
}

fn is_moved(outcome: &Result<(), StoreError>) -> bool {
    matches!(outcome, Err(StoreError::CheckpointMoved { .. }))
}

async fn assert_holds<V: View, S: Store<V>>(store: &S, rows: &[V], moves: &[Move]) {
    let snapshot = store.snapshot().await.unwrap();
    assert!(snapshot.rows.into_values().eq(rows.iter().cloned()), "{} holds other rows", V::NAME);
    let checkpoints: BTreeMap<Partition, Checkpoint> = moves.iter().map(|step| (step.partition, step.to)).collect();
    assert_eq!(snapshot.reflects.checkpoints, checkpoints);
    assert_eq!(store.open().await.unwrap(), checkpoints);
}

/// Two write other rows from the same checkpoint, at the same time, again and again.
struct Race<'h>(&'h History);

impl ToEach for Race<'_> {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        assert!(store.open().await.unwrap().is_empty());
        let (few, many) = (rows::<V>(self.0, true), rows::<V>(self.0, false));
        let mut gone = many.iter().map(V::key).filter(|key| few.iter().all(|row| row.key() != *key)).collect();
        for round in 0..10 {
            let expected = round * 10;
            let less = Commit {
                behind: false,
                upserts: few.clone(),
                deletes: gone,
                moves: moves::<V>(expected, expected + 10),
                parking: Changes::default(),
            };
            let more = Commit {
                behind: false,
                upserts: many.clone(),
                deletes: vec![],
                moves: moves::<V>(expected, expected + 10),
                parking: Changes::default(),
            };
            let (first, second) = tokio::join!(until_certain(store, &less), until_certain(store, &more));
            match (&first, &second) {
                (Ok(()), second) if is_moved(second) => assert_holds(store, &few, &less.moves).await,
                (first, Ok(())) if is_moved(first) => assert_holds(store, &many, &more.moves).await,
                _ => panic!("{}: {first:?}, {second:?}", V::NAME),
            }
            gone = less.deletes;
        }
    }
}

/// A commit that met another in the act may fail otherwise; what became of it is told by the next one. Like a projector
/// it waits in between, never as long as its rival: two that try again at once only meet again.
async fn until_certain<V: View, S: Store<V>>(store: &S, commit: &Commit<V>) -> Result<(), StoreError> {
    let mut failures = Vec::new();
    for attempt in 1..=50 {
        match store.commit(commit.clone()).await {
            Err(error @ StoreError::Commit { .. }) => failures.push(error),
            certain => return certain,
        }
        let (random, _) = Uuid::new_v4().as_u64_pair();
        tokio::time::sleep(Duration::from_millis(random % (20 * attempt))).await;
    }
    panic!("{} never had a certain answer, at last {:?}", V::NAME, failures.last())
}

/// All checkpoints but one are where they are expected.
struct Stale<'h>(&'h History);

impl ToEach for Stale<'_> {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        store.open().await.unwrap();
        let few = rows::<V>(self.0, true);
        let first = Commit {
            behind: false,
            upserts: few.clone(),
            deletes: vec![],
            moves: moves::<V>(0, 10),
            parking: Changes::default(),
        };
        store.commit(first.clone()).await.unwrap();
        for stale in [0, V::partitions().len() - 1] {
            let mut moves = moves::<V>(10, 20);
            moves[stale].expected = 9;
            let late = Commit {
                behind: false,
                upserts: rows::<V>(self.0, false),
                deletes: vec![few[0].key()],
                moves,
                parking: Changes::default(),
            };
            assert!(is_moved(&store.commit(late).await), "{}", V::NAME);
            assert_holds(store, &few, &first.moves).await;
        }
    }
}

/// Rows are written over, and deleted; a commit may move checkpoints alone.
struct Replace<'h>(&'h History);

impl ToEach for Replace<'_> {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        store.open().await.unwrap();
        let all = rows::<V>(self.0, false);
        store
            .commit(Commit {
                behind: false,
                upserts: rows(self.0, true),
                deletes: vec![],
                moves: moves::<V>(0, 1),
                parking: Changes::default(),
            })
            .await
            .unwrap();
        let second = Commit {
            behind: false,
            upserts: all.clone(),
            deletes: vec![],
            moves: moves::<V>(1, 2),
            parking: Changes::default(),
        };
        store.commit(second.clone()).await.unwrap();
        assert_holds(store, &all, &second.moves).await;
        let gone = vec![all[0].key(), all[2].key()];
        let third = Commit {
            behind: false,
            upserts: vec![],
            deletes: gone.clone(),
            moves: moves::<V>(2, 3),
            parking: Changes::default(),
        };
        store.commit(third.clone()).await.unwrap();
        let left: Vec<V> = all.iter().filter(|row| !gone.contains(&row.key())).cloned().collect();
        assert_holds(store, &left, &third.moves).await;
        let alone = Commit {
            behind: false,
            upserts: vec![],
            deletes: vec![],
            moves: moves::<V>(3, 4),
            parking: Changes::default(),
        };
        store.commit(alone.clone()).await.unwrap();
        assert_holds(store, &left, &alone.moves).await;
        let keys: Vec<V::Key> = all.iter().map(V::key).collect();
        let mut loaded = store.load(&keys).await.unwrap();
        loaded.sort_by_key(V::key);
        assert_eq!(loaded, left);
    }
}
