//! Projectors of a scene, and waiting for them.

use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, Partition};
use lonja_projections::generations::Scope;
use lonja_projections::pace::Pace;
use lonja_projections::projector::{Context, Projector};
use lonja_projections::store::Store;
use lonja_projections::verify::{self, Report};
use lonja_projections::view::View;
use lonja_projections::views::ToEach;
use lonja_projections::{Progress, ViewState, Views};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::history::History;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Running projectors of all views.
pub struct Running {
    pub progress: Progress,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// What projectors of a history work with.
pub fn context(history: &History, batch_events: usize) -> Context {
    Context {
        log: Arc::new(history.log.clone()),
        codec: Arc::clone(&history.codec),
        progress: Progress::default(),
        batch_events,
        pace: Pace::Unbounded,
        scope: Scope::default(),
        shutdown: CancellationToken::new(),
    }
}

struct Start(Context);

impl ToEach for Start {
    type Outcome = JoinHandle<()>;

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> JoinHandle<()> {
        Projector::<V, S>::new(self.0.clone(), store.clone()).spawn()
    }
}

impl Running {
    pub async fn start(views: &Views, history: &History, batch_events: usize) -> Self {
        let context = context(history, batch_events);
        let (progress, shutdown) = (context.progress.clone(), context.shutdown.clone());
        Self { progress, shutdown, tasks: views.each(&Start(context)).await }
    }

    /// Waits until each view reflects the whole log.
    pub async fn reach_end(&self, history: &History) {
        for (view, _) in self.progress.states() {
            self.reach(view, &history.log.ends()).await;
        }
    }

    pub async fn reach(&self, view: &str, ends: &[(Partition, u64)]) {
        let last: Vec<_> = ends.iter().map(|(partition, end)| (*partition, end - 1)).collect();
        let reached = self.progress.wait_for(view, &last, Instant::now() + PATIENCE).await;
        reached.map(drop).unwrap_or_else(|not_yet| panic!("{not_yet}: {:?}", self.progress.states()));
    }

    /// Waits until the state of `view` is as wanted; answers it.
    pub async fn state(&self, view: &str, wanted: impl Fn(&ViewState) -> bool) -> ViewState {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.progress.state(view).unwrap();
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "{view} is {state:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

pub fn stopped(state: &ViewState) -> bool {
    matches!(state, ViewState::Stopped { .. })
}

pub fn retrying(state: &ViewState) -> bool {
    matches!(state, ViewState::Retrying { .. })
}

/// Compares every view with the fold of the log.
pub async fn reports(views: &Views, history: &History) -> Vec<Report> {
    let log: Arc<dyn EventLog> = Arc::new(history.log.clone());
    verify::verify(views, log, Arc::clone(&history.codec)).await.unwrap()
}

/// Every view holds exactly what the whole log says.
pub async fn assert_right(views: &Views, history: &History) {
    for report in reports(views, history).await {
        assert_eq!(report.differences, 0, "{report:#?}");
        assert!(report.rows > 0, "{} is empty", report.view);
        let topics = |partition: &Partition| {
            report.view == "activity_feed" || (partition.topic.aggregate == "stock") == (report.view == "stock_level")
        };
        let records: u64 =
            history.log.ends().iter().filter(|(partition, _)| topics(partition)).map(|(_, end)| end).sum();
        assert_eq!(report.records, records, "{}", report.view);
    }
}
