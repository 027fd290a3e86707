//! Generations: built beside the live one, compared, promoted, rolled back, retired.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eventlog::Partition;
use eventlog::shared::Tap;
use lonja_projections::generations::{Diff, Notes, compare};
use lonja_projections::parking::Changes;
use lonja_projections::store::{Commit, Store};
use lonja_projections::verify::verify_one;
use lonja_projections::view::View;
use lonja_projections::views::ToEach;
use lonja_projections::{Folds, Projections, start};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::folding::{log_of, seed};
use crate::history::History;
use crate::homes::{Home, Scene};
use crate::running::PATIENCE;

/// Starts as a process does.
pub async fn run(scene: &Scene, history: &History) -> Projections {
    let (log, codec) = (log_of(history), Arc::clone(&history.codec));
    start(&scene.config, log, codec, Folds::All, Tap::default(), CancellationToken::new()).await.unwrap()
}

/// What a step of every view works with.
#[derive(Clone, Copy)]
pub struct Step<'s> {
    pub running: &'s Projections,
    pub history: &'s History,
}

/// One step of every view.
struct Way<'s> {
    step: Step<'s>,
    deed: Deed,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    /// A row of the live generation is lost, and with it what it is verified against.
    Spoil,
    /// A generation is made; it catches up, is right, and shows what is wrong in the live one.
    Build,
    /// What is paused does not move, and cannot be promoted.
    Pause,
    /// It goes on, is promoted, and readers see it.
    Promote,
    /// The pointer moves back and forth again.
    RollBack,
    /// The former one goes, and its number is never used again.
    Retire,
    /// The live one is right.
    Check,
}

impl ToEach for Way<'_> {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        match self.deed {
            Deed::Spoil => self.step.spoil(store).await,
            Deed::Build => self.step.build(store).await,
            Deed::Pause => self.step.pause(store).await,
            Deed::Promote => self.step.promote(store).await,
            Deed::RollBack => self.step.roll_back(store).await,
            Deed::Retire => self.step.retire(store).await,
            Deed::Check => self.step.check(store).await,
        }
    }
}

/// The number of the generation that is built.
fn new<V: View>() -> u32 {
    V::GENERATION + 1
}

impl Step<'_> {
    async fn until(&self, what: &str, view: &str, is_so: impl Fn() -> bool + Send + Sync) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            let states = self.running.progress.generations();
            assert!(Instant::now() < deadline, "{what} of {view} did not come to be: {states:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a generation has folded the whole log …
    pub async fn reach_end<V: View>(&self, generation: u32) {
        self.reach_end_of::<V>(generation, &V::partitions()).await;
    }

    /// … or these partitions of it.
    pub async fn reach_end_of<V: View>(&self, generation: u32, partitions: &[Partition]) {
        let ends = self.history.log.ends().into_iter().filter(|(partition, _)| partitions.contains(partition));
        let ends: Vec<_> = ends.collect();
        let at_end = || {
            let reflects = self.running.progress.generation_reflects(V::NAME, generation);
            let reflects: BTreeMap<Partition, u64> = reflects.into_iter().collect();
            ends.iter().all(|(partition, end)| reflects.get(partition) == Some(end))
        };
        self.until("the end", V::NAME, at_end).await;
    }

    pub async fn differences<V: View, S: Store<V>>(&self, store: &S, generation: u32) -> usize {
        let (log, codec) = (log_of(self.history), Arc::clone(&self.history.codec));
        verify_one(&store.numbered(generation), log, codec).await.unwrap().differences
    }

    pub async fn note<V: View, S: Store<V>>(&self, store: &S, number: u32, how: impl FnOnce(&mut Notes)) {
        let all = store.generations().list().await.unwrap();
        let mut notes = all.into_iter().find(|generation| generation.number == number).unwrap().notes;
        how(&mut notes);
        store.generations().note(number, notes).await.unwrap();
    }

    async fn spoil<V: View, S: Store<V>>(&self, store: &S) {
        self.reach_end::<V>(V::GENERATION).await;
        let first = store.generations().list().await.unwrap();
        assert!(first.len() == 1 && first[0].live && first[0].number == V::GENERATION, "{first:?}");
        let rows = store.snapshot().await.unwrap().rows;
        // One that is read last: a later event must not mend it.
        let key = rows.keys().next().unwrap().clone();
        let lost =
            Commit { behind: false, upserts: vec![], deletes: vec![key], moves: vec![], parking: Changes::default() };
        store.commit(lost).await.unwrap();
    }

    async fn build<V: View, S: Store<V>>(&self, store: &S) {
        let notes = Notes { started_at: Some(1), reason: "“try” \\ '".into(), ..Notes::default() };
        let number = store.generations().create(notes.clone()).await.unwrap();
        assert_eq!(number, new::<V>());
        let listed = store.generations().list().await.unwrap();
        assert_eq!(
            listed.iter().map(|g| (g.number, g.live)).collect::<Vec<_>>(),
            [(V::GENERATION, true), (number, false)]
        );
        assert_eq!(listed[1].notes, notes);
        self.reach_end::<V>(number).await;
        self.reach_end::<V>(V::GENERATION).await;
        assert_eq!(self.differences(store, number).await, 0, "{}", V::NAME);
        let wrong = self.differences(store, V::GENERATION).await;
        let diff = compare(&store.numbered(V::GENERATION), &store.numbered(number), 5).await.unwrap();
        let Diff { added, removed, changed, samples, .. } = &diff;
        assert_eq!((*added + changed, *removed), (wrong as u64, 0), "{diff:?}");
        assert_eq!((samples.len(), wrong), (1, 1), "{diff:?}");
        assert!(samples[0].to.is_some() && samples[0].from != samples[0].to, "{diff:?}");
    }

    async fn pause<V: View, S: Store<V>>(&self, store: &S) {
        self.note(store, new::<V>(), |notes| notes.paused_at = Some(5)).await;
        let gone = || !self.running.progress.generations().iter().any(|(v, n, _)| (*v, *n) == (V::NAME, new::<V>()));
        self.until("the pause", V::NAME, gone).await;
    }

    async fn promote<V: View, S: Store<V>>(&self, store: &S) {
        self.reach_end::<V>(V::GENERATION).await;
        let generations = store.generations();
        assert!(!generations.promote(V::GENERATION, new::<V>()).await.unwrap(), "{} was behind", V::NAME);
        self.note(store, new::<V>(), |notes| notes.paused_at = None).await;
        self.reach_end::<V>(new::<V>()).await;
        assert!(!generations.promote(new::<V>(), V::GENERATION).await.unwrap(), "{} was not live", V::NAME);
        assert!(generations.promote(V::GENERATION, new::<V>()).await.unwrap(), "{}", V::NAME);
        assert!(!generations.promote(V::GENERATION, new::<V>()).await.unwrap(), "{} was promoted twice", V::NAME);
        self.until_live::<V>(new::<V>()).await;
    }

    pub async fn until_live<V: View>(&self, number: u32) {
        self.until("the switch", V::NAME, || self.running.progress.live(V::NAME) == Some(number)).await;
    }

    async fn roll_back<V: View, S: Store<V>>(&self, store: &S) {
        for (from, to) in [(new::<V>(), V::GENERATION), (V::GENERATION, new::<V>())] {
            self.reach_end::<V>(to).await;
            assert!(store.generations().promote(from, to).await.unwrap());
            self.until_live::<V>(to).await;
        }
    }

    async fn retire<V: View, S: Store<V>>(&self, store: &S) {
        self.note(store, V::GENERATION, |notes| notes.retired = true).await;
        let gone = || !self.running.progress.generations().iter().any(|(v, n, _)| (*v, *n) == (V::NAME, V::GENERATION));
        self.until("the end", V::NAME, gone).await;
        store.generations().clear(V::GENERATION).await.unwrap();
        let left = store.numbered(V::GENERATION).snapshot().await.unwrap();
        assert!(left.rows.is_empty() && left.reflects.checkpoints.is_empty(), "{}: {left:?}", V::NAME);
        let next = store.generations().create(Notes { paused_at: Some(1), ..Notes::default() }).await.unwrap();
        assert_eq!(next, new::<V>() + 1);
        self.note(store, next, |notes| notes.retired = true).await;
        store.generations().clear(next).await.unwrap();
    }

    async fn check<V: View, S: Store<V>>(&self, store: &S) {
        self.until_live::<V>(new::<V>()).await;
        self.reach_end::<V>(new::<V>()).await;
        assert_eq!(self.differences(store, new::<V>()).await, 0, "{}", V::NAME);
    }
}

/// The way of a replay: it finds what is wrong in the live generation, and takes its place.
pub async fn a_replay_is_built_beside_the_live_view_and_takes_its_place(scene: &Scene) {
    let mut history = History::new(seed());
    history.go_on(300);
    let running = run(scene, &history).await;
    let views = running.views.clone();
    for deed in [Deed::Spoil, Deed::Build, Deed::Pause, Deed::Promote, Deed::RollBack, Deed::Retire, Deed::Check] {
        views.each(&Way { step: Step { running: &running, history: &history }, deed }).await;
        if !matches!(deed, Deed::Spoil) {
            history.go_on(50);
        }
    }
    running.stop().await;
    if scene.home == Home::Memory {
        return;
    }
    // Another process finds everything as it was left.
    let running = run(scene, &history).await;
    let views = running.views.clone();
    let way = Way { step: Step { running: &running, history: &history }, deed: Deed::Check };
    let check = Only { way, home: scene.home };
    views.each(&check).await;
    running.stop().await;
}

/// Views that live in a home: the others, in memory, begin anew.
struct Only<'s> {
    way: Way<'s>,
    home: Home,
}

impl ToEach for Only<'_> {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        if format!("{:?}", store.kind()) == format!("{:?}", self.home) {
            self.way.to(store).await;
        }
    }
}
