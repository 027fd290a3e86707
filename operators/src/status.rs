//! `GET /v1/status`: how the shop is, on one screen.

use axum::Json;
use axum::extract::State;
use eventlog::metrics::void_records;
use projections::store::Store;
use projections::view::View;
use projections::views::ToEach;
use projections::{Kind, Lag, ViewState};
use serde::Serialize;

use crate::owners::Owner;
use crate::server::Shared;

/// Everything that an operator looks at first.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    views: Vec<ViewStatus>,
    void_records: Vec<Void>,
    /// Empty where they are not known.
    owners: Vec<Owner>,
    /// Why they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    owners_error: Option<String>,
}

/// One view.
#[derive(Debug, Serialize)]
struct ViewStatus {
    view: &'static str,
    /// `memory`, `postgres`, `mysql` or `mongo`.
    store: &'static str,
    /// `starting`, `live`, `retrying` or `stopped`; `elsewhere` where it is neither folded nor read here.
    state: &'static str,
    /// Why it does not move.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The generation that readers see; none where the view is neither folded nor read here.
    generation: Option<u32>,
    /// Others that are folded here beside it.
    beside: Vec<u32>,
    /// Aggregates whose events are parked.
    parked: usize,
    /// How far it is behind; none until it was measured.
    lag: Option<LagStatus>,
}

/// How far a view is behind the log, as of the last measurement.
#[derive(Debug, Serialize)]
struct LagStatus {
    events: u64,
    /// Age of the oldest event that it does not show.
    seconds: f64,
    /// How many events it falls behind each second: negative when it catches up.
    trend_per_second: Option<f64>,
    /// When it will have caught up, if it goes on so.
    eta_seconds: Option<f64>,
    measured_seconds_ago: f64,
}

/// Void records that readers of this process met since it started; each reader counts for itself.
#[derive(Debug, Serialize)]
struct Void {
    topic: &'static str,
    reason: &'static str,
    count: u64,
}

pub(crate) async fn show(State(operators): State<Shared>) -> Json<Status> {
    let views = operators.views.each(&Look(&operators)).await;
    let void = void_records().into_iter().map(|((topic, reason), count)| Void { topic, reason, count });
    let (owners, owners_error) = match (operators.owners)().await {
        Ok(owners) => (owners, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    Json(Status { views, void_records: void.collect(), owners, owners_error })
}

struct Look<'o>(&'o Shared);

impl ToEach for Look<'_> {
    type Outcome = ViewStatus;

    async fn to<V: View, S: Store<V>>(&self, store: &S) -> ViewStatus {
        let (state, reason) = match self.0.progress.state(V::NAME) {
            None => ("elsewhere", None),
            Some(ViewState::Starting) => ("starting", None),
            Some(ViewState::Live) => ("live", None),
            Some(ViewState::Retrying { reason }) => ("retrying", Some(reason)),
            Some(ViewState::Stopped { reason }) => ("stopped", Some(reason)),
        };
        let progress = &self.0.progress;
        let generation = progress.live(V::NAME);
        let own = progress.generations().into_iter().filter(|(view, ..)| *view == V::NAME).map(|(_, number, _)| number);
        let beside = own.filter(|number| Some(*number) != generation).collect();
        let parked = progress.parked(V::NAME).len();
        let lag = generation.and_then(|generation| self.0.lags.of(V::NAME, generation)).map(LagStatus::from);
        let (view, store) = (V::NAME, name(store.kind()));
        ViewStatus { view, store, state, reason, generation, beside, parked, lag }
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Memory => "memory",
        Kind::Postgres => "postgres",
        Kind::Mysql => "mysql",
        Kind::Mongo => "mongo",
    }
}

impl From<Lag> for LagStatus {
    fn from(Lag { events, age, measured, trend, eta, .. }: Lag) -> Self {
        Self {
            events,
            seconds: age.as_secs_f64(),
            trend_per_second: trend,
            eta_seconds: eta.map(|eta| eta.as_secs_f64()),
            measured_seconds_ago: measured.as_secs_f64(),
        }
    }
}
