//! `/v1/replays`: generations of views. See [`projections::generations`].

mod change;
mod deeds;
mod scope;
mod standing;

use axum::Json;
use axum::extract::State;
use projections::generations::{Diff, Generation};
use serde::{Deserialize, Serialize};

pub(crate) use self::change::{cancel, pause, promote, resume, retire, rollback, start, verify, widen};
use self::standing::Standing;
use crate::parameters::{Parameters, limit};
use crate::parked::{named, unavailable, view};
use crate::problem::{GENERATION_NOT_FOUND, Problem};
use crate::server::Shared;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    view: Option<String>,
}

/// All generations that are not retired.
#[derive(Debug, Serialize)]
pub(crate) struct List {
    data: Vec<Standing>,
}

/// `GET /v1/replays`
pub(crate) async fn list(
    State(operators): State<Shared>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<List>, Problem> {
    let mut data = Vec::new();
    for view in named(query.view.as_deref())? {
        for generation in generations(&operators, view).await? {
            data.push(standing::of(&operators, view, generation).await?);
        }
    }
    Ok(Json(List { data }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiffQuery {
    view: String,
    generation: u32,
    limit: Option<u64>,
}

/// `GET /v1/replays/diff`: against the live generation.
pub(crate) async fn diff(
    State(operators): State<Shared>,
    Parameters(query): Parameters<DiffQuery>,
) -> Result<Json<Diff>, Problem> {
    let view = view(&query.view)?;
    let samples = usize::try_from(limit(query.limit)?).unwrap_or(usize::MAX);
    let all = generations(&operators, view).await?;
    find(view, &all, query.generation)?;
    let live = all.iter().find(|generation| generation.live).map_or(0, |generation| generation.number);
    let deed = deeds::Compare { view, from: live, to: query.generation, samples };
    let compared = operators.views.each(&deed).await.into_iter().flatten().next();
    let compared = compared.ok_or_else(|| Problem::new(&GENERATION_NOT_FOUND, view))?;
    Ok(Json(compared.map_err(unavailable)?))
}

/// Those that are not retired.
async fn generations(operators: &Shared, view: &'static str) -> Result<Vec<Generation>, Problem> {
    let all = deeds::generations(operators, view)?.list().await.map_err(unavailable)?;
    Ok(all.into_iter().filter(|generation| !generation.notes.retired).collect())
}

fn find(view: &str, all: &[Generation], number: u32) -> Result<Generation, Problem> {
    let found = all.iter().find(|generation| generation.number == number).cloned();
    found.ok_or_else(|| Problem::new(&GENERATION_NOT_FOUND, format!("{view} has no generation {number}")))
}
