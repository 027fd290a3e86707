//! What operators do with generations. It is on record first; then it stands in the view's store, and whatever process folds
//! the view carries it out within a second.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use projections::generations::{Begin, Generation, Notes, Verified, now};
use projections::pace::Pace;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::standing::{self, Standing};
use super::{deeds, find, generations, scope};
use crate::audit::Deed;
use crate::body::Body;
use crate::operator::Operator;
use crate::parked::{given, unavailable, view};
use crate::problem::{GENERATION_BEHIND, GENERATION_IN_USE, Problem, SCOPE_UNFIT};
use crate::server::Shared;

/// How long a promotion waits until the other generation has folded as much as the live one.
const PROMOTE_WITHIN: Duration = Duration::from_secs(10);
/// How long projectors have to notice that a generation is not folded any more, before its rows go.
const NOTICE: Duration = Duration::from_millis(1_500);

/// A new generation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    view: String,
    /// Most events a second; 0 is no bound.
    rate: Option<u64>,
    /// These alone, such as `order.events/3`; all without it.
    #[serde(default)]
    partitions: Vec<String>,
    /// An offset of the one partition, or a time.
    from: Option<String>,
    reason: String,
}

/// Something about one generation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    view: String,
    generation: u32,
    reason: String,
}

/// Something about the live one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Back {
    view: String,
    reason: String,
}

/// It is folded again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resume {
    /// Most events a second from now on; 0 is no bound; as before without it.
    rate: Option<u64>,
    view: String,
    generation: u32,
    reason: String,
}

/// As operators say it.
fn pace(rate: Option<u64>) -> Pace {
    match rate {
        None => Pace::Gentle,
        Some(0) => Pace::Unbounded,
        Some(rate) => Pace::Rate(rate),
    }
}

type Accepted = Result<(StatusCode, Json<Standing>), Problem>;

/// `POST /v1/replays/start`
pub(crate) async fn start(State(operators): State<Shared>, operator: Operator, Body(body): Body<Start>) -> Accepted {
    let (view, reason) = (view(&body.view)?, given(&body.reason)?);
    let all = generations(&operators, view).await?;
    if let Some(other) =
        all.iter().find(|other| !other.live && !other.notes.was_live && other.notes.started_at.is_some())
    {
        let detail = format!("generation {} is being built already; cancel or promote it first", other.number);
        return Err(Problem::new(&GENERATION_IN_USE, detail));
    }
    let scope = scope::of(&operators, view, &body.partitions, body.from.as_deref()).await?;
    let after = json!({ "pace": pace(body.rate), "scope": scope });
    on_record(&operators, &operator, "replay start", view, reason, (Value::Null, after)).await?;
    let (name, reason) = (operator.as_str().to_owned(), reason.to_owned());
    let notes =
        Notes { started_at: Some(now().0), operator: name, reason, pace: pace(body.rate), scope, ..Notes::default() };
    let number = deeds::generations(&operators, view)?.create(notes).await.map_err(unavailable)?;
    shown(&operators, view, number).await
}

/// `POST /v1/replays/pause`
pub(crate) async fn pause(State(operators): State<Shared>, operator: Operator, Body(body): Body<Change>) -> Accepted {
    change(&operators, &operator, "replay pause", &body, |notes| {
        notes.paused_at.get_or_insert(now().0);
    })
    .await
}

/// `POST /v1/replays/resume`
pub(crate) async fn resume(State(operators): State<Shared>, operator: Operator, Body(body): Body<Resume>) -> Accepted {
    let Resume { rate, view, generation, reason } = body;
    change(&operators, &operator, "replay resume", &Change { view, generation, reason }, |notes| {
        if rate.is_some() {
            notes.pace = pace(rate);
        }
        if let Some(paused_at) = notes.paused_at.take() {
            notes.paused_ms += now().0 - paused_at;
        }
    })
    .await
}

/// `POST /v1/replays/widen`: the rest of the partitions, too.
pub(crate) async fn widen(State(operators): State<Shared>, operator: Operator, Body(body): Body<Change>) -> Accepted {
    let view = view(&body.view)?;
    let Generation { notes, number, .. } = find(view, &generations(&operators, view).await?, body.generation)?;
    if let Some(Begin::Offset(offset)) = notes.scope.from {
        let detail =
            format!("generation {number} begins at offset {offset} of its partition, which means nothing in others");
        return Err(Problem::new(&SCOPE_UNFIT, detail));
    }
    change(&operators, &operator, "replay widen", &body, |notes| {
        notes.scope.partitions.clear();
        notes.verified = None;
    })
    .await
}

/// Notes something about a generation that is not live.
async fn change(
    operators: &Shared,
    operator: &Operator,
    verb: &'static str,
    body: &Change,
    how: impl FnOnce(&mut Notes),
) -> Accepted {
    let (view, reason) = (view(&body.view)?, given(&body.reason)?);
    let Generation { number, live, mut notes } = find(view, &generations(operators, view).await?, body.generation)?;
    if live {
        return Err(Problem::new(&GENERATION_IN_USE, format!("generation {number} of {view} is live")));
    }
    let before = json!({ "generation": number, "notes": notes });
    how(&mut notes);
    on_record(operators, operator, verb, view, reason, (before, json!({ "notes": notes }))).await?;
    deeds::generations(operators, view)?.note(number, notes).await.map_err(unavailable)?;
    shown(operators, view, number).await
}

/// `POST /v1/replays/verify`: begins; what comes of it is noted.
pub(crate) async fn verify(State(operators): State<Shared>, operator: Operator, Body(body): Body<Change>) -> Accepted {
    let (view, reason) = (view(&body.view)?, given(&body.reason)?);
    let Generation { number, .. } = find(view, &generations(&operators, view).await?, body.generation)?;
    on_record(&operators, &operator, "replay verify", view, reason, (json!({ "generation": number }), Value::Null))
        .await?;
    let answer = shown(&operators, view, number).await;
    tokio::spawn(async move {
        if let Err(problem) = verify_and_note(&operators, view, number).await {
            tracing::error!(view, generation = number, ?problem, "what a verification found could not be noted");
        }
    });
    answer
}

async fn verify_and_note(operators: &Shared, view: &'static str, number: u32) -> Result<(), Problem> {
    let (log, codec) = (Arc::clone(&operators.log), Arc::clone(&operators.codec));
    let deed = deeds::Verify { view, generation: number, log, codec };
    let Some(report) = operators.views.each(&deed).await.into_iter().flatten().next() else { return Ok(()) };
    let Generation { mut notes, .. } = find(view, &generations(operators, view).await?, number)?;
    match report {
        Ok(report) => {
            let (rows, differences) = (report.rows as u64, report.differences as u64);
            notes.verified = Some(Verified { at: now().0, rows, records: report.records, differences });
            notes.trouble = None;
        }
        Err(error) => {
            let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
            notes.trouble = Some(causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")));
        }
    }
    deeds::generations(operators, view)?.note(number, notes).await.map_err(unavailable)
}

/// `POST /v1/replays/promote`
pub(crate) async fn promote(State(operators): State<Shared>, operator: Operator, Body(body): Body<Change>) -> Accepted {
    let (view, reason) = (view(&body.view)?, given(&body.reason)?);
    let all = generations(&operators, view).await?;
    let to = find(view, &all, body.generation)?;
    if let Some(partitions) = scope::shown(&to.notes.scope) {
        let detail =
            format!("generation {} of {view} folds {} alone: widen it first", to.number, partitions.join(", "));
        return Err(Problem::new(&SCOPE_UNFIT, detail));
    }
    move_pointer(&operators, &operator, "replay promote", (view, reason), &all, to).await
}

/// `POST /v1/replays/rollback`: to the one that was live last.
pub(crate) async fn rollback(State(operators): State<Shared>, operator: Operator, Body(body): Body<Back>) -> Accepted {
    let (view, reason) = (view(&body.view)?, given(&body.reason)?);
    let all = generations(&operators, view).await?;
    let was_live = |other: &&Generation| !other.live && (other.notes.was_live || other.notes.started_at.is_none());
    let to = all.iter().filter(was_live).next_back().cloned();
    let to = to.ok_or_else(|| Problem::new(&GENERATION_IN_USE, format!("no former generation of {view} is left")))?;
    move_pointer(&operators, &operator, "replay rollback", (view, reason), &all, to).await
}

async fn move_pointer(
    operators: &Shared,
    operator: &Operator,
    verb: &'static str,
    (view, reason): (&'static str, &str),
    all: &[Generation],
    to: Generation,
) -> Accepted {
    let from = all.iter().find(|generation| generation.live).cloned();
    let from = from.ok_or_else(|| Problem::new(&GENERATION_IN_USE, format!("{view} has no live generation")))?;
    if from.number == to.number {
        return Err(Problem::new(&GENERATION_IN_USE, format!("generation {} of {view} is live already", to.number)));
    }
    let (before, after) = (json!({ "live": from.number }), json!({ "live": to.number }));
    on_record(operators, operator, verb, view, reason, (before, after)).await?;
    let store = deeds::generations(operators, view)?;
    let deadline = Instant::now() + PROMOTE_WITHIN;
    while !store.promote(from.number, to.number).await.map_err(unavailable)? {
        if Instant::now() > deadline {
            let detail =
                format!("generation {} has not folded as much as {}, which stays live", to.number, from.number);
            return Err(Problem::new(&GENERATION_BEHIND, detail));
        }
        sleep(Duration::from_millis(5)).await;
    }
    for generation in [from, to.clone()] {
        let notes = Notes { was_live: true, ..generation.notes };
        store.note(generation.number, notes).await.map_err(unavailable)?;
    }
    shown(operators, view, to.number).await
}

/// `POST /v1/replays/cancel`: of one that was never live.
pub(crate) async fn cancel(State(operators): State<Shared>, operator: Operator, Body(body): Body<Change>) -> Accepted {
    end(&operators, &operator, "replay cancel", &body, false).await
}

/// `POST /v1/replays/retire`: of one that was live.
pub(crate) async fn retire(State(operators): State<Shared>, operator: Operator, Body(body): Body<Change>) -> Accepted {
    end(&operators, &operator, "replay retire", &body, true).await
}

async fn end(operators: &Shared, operator: &Operator, verb: &'static str, body: &Change, was_live: bool) -> Accepted {
    let view = view(&body.view)?;
    let Generation { notes, number, .. } = find(view, &generations(operators, view).await?, body.generation)?;
    if (notes.was_live || notes.started_at.is_none()) != was_live {
        let detail = if was_live { "it was never live: cancel it" } else { "it was live: retire it" };
        return Err(Problem::new(&GENERATION_IN_USE, format!("generation {number} of {view}: {detail}")));
    }
    let answer = change(operators, operator, verb, body, |notes| notes.retired = true).await?;
    sleep(NOTICE).await;
    deeds::generations(operators, view)?.clear(number).await.map_err(unavailable)?;
    Ok(answer)
}

async fn on_record(
    operators: &Shared,
    operator: &Operator,
    verb: &str,
    view: &str,
    reason: &str,
    (before, after): (Value, Value),
) -> Result<(), Problem> {
    let (verb, target, reason) = (verb.to_owned(), view.to_owned(), reason.to_owned());
    operators.audit.record(operator, Deed { verb, target, reason, before, after }).await?;
    Ok(())
}

async fn shown(operators: &Shared, view: &'static str, number: u32) -> Accepted {
    let all = deeds::generations(operators, view)?.list().await.map_err(unavailable)?;
    let generation = find(view, &all, number)?;
    Ok((StatusCode::ACCEPTED, Json(standing::of(operators, view, generation).await?)))
}
