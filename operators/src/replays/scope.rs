//! Which part of the log a replay folds, as operators say it.

use domain::Timestamp;
use eventlog::Partition;
use projections::generations::{Begin, Scope};

use super::deeds::Foldable;
use crate::problem::{INVALID_REQUEST, Problem, SCOPE_UNFIT, VIEW_NOT_FOUND};
use crate::range::time;
use crate::server::Shared;

/// What `partitions` and `from` say of `view`.
pub(super) async fn of(
    operators: &Shared,
    view: &'static str,
    partitions: &[String],
    from: Option<&str>,
) -> Result<Scope, Problem> {
    let foldable = operators.views.each(&Foldable { view }).await.into_iter().flatten().next();
    let (all, rows_of_one_record) = foldable.ok_or_else(|| Problem::new(&VIEW_NOT_FOUND, view))?;
    let mut chosen = Vec::new();
    for text in partitions {
        let partition: Option<Partition> = text.parse().ok().filter(|partition| all.contains(partition));
        let unknown = || Problem::new(&INVALID_REQUEST, format!("partitions: {view} folds no partition {text}"));
        chosen.push(partition.ok_or_else(unknown)?);
    }
    chosen.sort_unstable();
    chosen.dedup();
    if chosen.len() == all.len() {
        chosen.clear();
    }
    let from = from.map(parse).transpose()?;
    if from.is_some() && !rows_of_one_record {
        let detail = format!("a row of {view} is folded from the whole history of its aggregate");
        return Err(Problem::new(&SCOPE_UNFIT, detail));
    }
    if matches!(from, Some(Begin::Offset(_))) && chosen.len() != 1 {
        return Err(Problem::new(
            &INVALID_REQUEST,
            "from: an offset is one of a single partition; say which, or a time",
        ));
    }
    Ok(Scope { partitions: chosen, from })
}

fn parse(text: &str) -> Result<Begin, Problem> {
    if let Ok(offset) = text.parse() {
        return Ok(Begin::Offset(offset));
    }
    let time: Option<jiff::Timestamp> = text.parse().ok();
    let unknown =
        || Problem::new(&INVALID_REQUEST, format!("from: {text} is neither an offset nor a time in RFC 3339"));
    time.map(|time| Begin::Time(time.as_millisecond())).ok_or_else(unknown)
}

/// The partitions, where they are not all.
pub(super) fn shown(scope: &Scope) -> Option<Vec<String>> {
    (!scope.partitions.is_empty()).then(|| scope.partitions.iter().map(ToString::to_string).collect())
}

/// As it was given.
pub(super) fn begin(begin: Begin) -> String {
    match begin {
        Begin::Offset(offset) => offset.to_string(),
        Begin::Time(at) => time(Timestamp(at)),
    }
}
