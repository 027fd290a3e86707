//! `workload verify`: judges a history against the log and the stores, as a program apart from what it judges. It shares
//! with the service the schemas of the records and nothing else.
//!
//! | | what must hold |
//! |---|---|
//! | I1 | what was answered is in the log, at the position that the answer named, with the content that was asked for |
//! | I2 | a command is in the log at most once; no version of an aggregate is there twice |
//! | I3 | what is in the log was asked for, and not by attempts that all failed |
//! | I4 | versions of an aggregate are 1, 2, 3 … in the order of the log |
//! | I5 | at every point of the log no more is reserved than is there, and nobody is refused what is there |
//! | I6 | the total of an order is the sum of its lines |
//! | I8 | the same key and request has the same status and body; another request under the key is refused |
//! | I9 | the stores hold the fold of the log, row for row |
//! | I11 | a read that sends the token of a write shows at least that write, and what the log says |
//! | I12 | no view has folded more than the log has |

mod answers;
mod history_of_aggregates;
mod reads;
#[cfg(test)]
pub(crate) mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use schemas::{Codec, topics};
use serde::Serialize;

use crate::history::{self, Attempt, Outcome};
use crate::rule::{Decision, judge};
use crate::stack::Stack;
use crate::stores::{Positions, Stores};
use crate::tables;

/// How long the views may take to come to the end of the log.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Violations of each kind that are shown; all of them are counted.
const SHOWN: usize = 10;

/// What to judge.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    stack: Stack,
    /// Histories that `workload load` wrote
    #[arg(long, value_name = "FILE", required = true)]
    history: Vec<PathBuf>,
    /// Others sent commands too: what nobody in the histories asked for is no violation
    #[arg(long)]
    allow_others: bool,
    /// Several nodes answered: what a key named on one of them, another may not know when the key is used again for another
    /// aggregate, and then both are decided
    #[arg(long)]
    several_nodes: bool,
    /// Leave the stores out (I9 and I12)
    #[arg(long)]
    log_only: bool,
    /// The log lost its tail at this time (milliseconds since 1970): what was answered before may be missing
    #[arg(long, value_name = "MILLISECONDS")]
    lost_before: Option<i64>,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which invariant, for example `I1`.
    pub invariant: &'static str,
    /// What was found.
    pub detail: String,
}

impl Violation {
    fn new(invariant: &'static str, detail: impl Into<String>) -> Self {
        Self { invariant, detail: detail.into() }
    }
}

/// What was judged, and how.
#[derive(Debug, Serialize)]
struct Verdict {
    commands: usize,
    reads: usize,
    /// Of commands.
    attempts: BTreeMap<Outcome, usize>,
    /// Commands of which no attempt had a definite answer.
    unresolved: usize,
    decisions: usize,
    claims: u64,
    voids: u64,
    /// Invariants that were checked.
    checked: Vec<&'static str>,
    violations: Vec<Violation>,
}

/// Judges and prints the verdict.
///
/// # Errors
/// When something cannot be read, or an invariant is violated: after the violations were printed.
pub fn run(args: &Args) -> Result<()> {
    let mut attempts = Vec::new();
    for file in &args.history {
        attempts.extend(history::read(file)?);
    }
    let (reads, mut attempts): (Vec<_>, Vec<_>) = attempts.into_iter().partition(Attempt::is_read);
    let runtime = tokio::runtime::Runtime::new().context("starting a runtime")?;
    let verdict = runtime.block_on(verdict(args, &mut attempts, &reads))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&verdict).context("rendering the verdict")?);
    } else {
        print(&verdict);
    }
    if verdict.violations.is_empty() {
        return Ok(());
    }
    bail!("{} violations", verdict.violations.len())
}

async fn verdict(args: &Args, attempts: &mut [Attempt], reads: &[Attempt]) -> Result<Verdict> {
    let codec = Codec::connect(args.stack.registry()?, &args.stack.topic_prefix).await;
    let codec = codec.context("asking the schema registry")?;
    let (mut decisions, mut ends) = (Vec::new(), BTreeMap::new());
    let (mut claims, mut voids) = (0, 0);
    for topic in topics::ALL {
        let log = crate::log_reader::read(args.stack.kafka()?, &args.stack.topic_prefix, topic)?;
        ends.extend(log.ends.iter().map(|(partition, end)| ((topic.name.to_owned(), *partition), *end)));
        let judged = judge(&log, &codec)?;
        claims += judged.claims;
        voids += judged.voids;
        decisions.extend(judged.decisions);
    }
    let keys: BTreeSet<String> = attempts.iter().map(|attempt| attempt.key.clone()).collect();
    let decided: BTreeSet<&str> =
        attempts.iter().filter(|attempt| attempt.outcome.is_decided()).map(|attempt| attempt.key.as_str()).collect();
    let unresolved = keys.len() - decided.len();
    let mut reads: Vec<&Attempt> = reads.iter().collect();
    if let Some(lost_before) = args.lost_before {
        // Where such an answer said that a write stands, something else may stand now.
        let given_out = attempts.iter().filter(|attempt| attempt.ended_ms < lost_before);
        let old: BTreeSet<_> = given_out.filter_map(|attempt| attempt.position.clone()).collect();
        reads.retain(|read| !read.token.as_ref().is_some_and(|token| old.contains(token)));
        forget_lost(attempts, &decisions, lost_before);
    }
    let mut checked = vec!["I1", "I2", "I3", "I4", "I5", "I6", "I8", "I11"];
    let mut violations = log_violations(attempts, &decisions, args.allow_others, args.several_nodes);
    violations.extend(reads::violations(&reads, &decisions));
    if !args.log_only {
        checked.extend(["I9", "I12"]);
        violations.extend(store_violations(&args.stack, &decisions, &ends).await?);
    }
    let mut outcomes = BTreeMap::new();
    for attempt in &*attempts {
        *outcomes.entry(attempt.outcome).or_default() += 1;
    }
    Ok(Verdict {
        commands: keys.len(),
        reads: reads.len(),
        attempts: outcomes,
        unresolved,
        decisions: decisions.len(),
        claims,
        voids,
        checked,
        violations,
    })
}

/// What was answered before the log lost its tail, and is not where it was answered to be or was decided anew since, says
/// nothing any more.
fn forget_lost(attempts: &mut [Attempt], decisions: &[Decision], lost_before: i64) {
    let places: BTreeSet<_> =
        decisions.iter().map(|decision| (decision.envelope.id, Some(decision.position()))).collect();
    let anew = attempts.iter().filter(|attempt| attempt.ended_ms >= lost_before && !attempt.replayed);
    let anew: BTreeSet<_> =
        anew.filter(|attempt| attempt.outcome.is_decided()).map(|attempt| attempt.key.clone()).collect();
    for attempt in attempts.iter_mut().filter(|attempt| attempt.outcome.is_decided()) {
        let stands = places.contains(&(history::command_id(&attempt.key), attempt.position.clone()));
        if attempt.ended_ms < lost_before && (!stands || anew.contains(&attempt.key)) {
            attempt.outcome = Outcome::Unknown;
        }
    }
}

/// What history and log alone tell.
fn log_violations(
    attempts: &[Attempt],
    decisions: &[Decision],
    allow_others: bool,
    several_nodes: bool,
) -> Vec<Violation> {
    let mut violations = answers::violations(attempts, decisions, allow_others, several_nodes);
    violations.extend(history_of_aggregates::violations(decisions));
    violations
}

async fn store_violations(
    stack: &Stack,
    decisions: &[Decision],
    ends: &BTreeMap<(String, u32), u64>,
) -> Result<Vec<Violation>> {
    let stores = Stores::connect(stack).await?;
    let mut violations = Vec::new();
    if let Err(lag) = stores.caught_up(ends, CATCH_UP).await {
        violations.push(Violation::new("I9", format!("{lag:#}")));
    }
    violations.extend(beyond_the_end(&stores.positions().await?, ends));
    let differences = tables::differences(&tables::fold(decisions), &stores.tables().await?);
    violations.extend(differences.into_iter().map(|difference| Violation::new("I9", difference)));
    Ok(violations)
}

fn beyond_the_end(positions: &Positions, ends: &BTreeMap<(String, u32), u64>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for ((view, topic, partition), next) in positions {
        let end = ends.get(&(topic.clone(), *partition)).copied().unwrap_or(0);
        if *next > end {
            let detail = format!("{view} has folded {topic}/{partition} up to {next}, but it ends at {end}");
            violations.push(Violation::new("I12", detail));
        }
    }
    violations
}

fn print(verdict: &Verdict) {
    let Verdict { commands, reads, attempts, unresolved, decisions, claims, voids, checked, violations } = verdict;
    println!(
        "history: {commands} commands, attempts {attempts:?}, {unresolved} commands without a definite answer, {reads} reads"
    );
    println!("log: {decisions} decisions, {claims} claims, {voids} void records");
    for invariant in checked {
        let found: Vec<_> = violations.iter().filter(|violation| violation.invariant == *invariant).collect();
        println!(
            "{invariant:<4} {}",
            if found.is_empty() { "holds".to_owned() } else { format!("{} violations", found.len()) }
        );
        for violation in found.iter().take(SHOWN) {
            println!("     {}", violation.detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{attempt, decision, placed};
    use super::*;

    #[test]
    fn what_was_answered_before_the_cut_may_be_gone_and_later_answers_may_not() {
        let log = [decision("a", 0, placed(2))];
        let outcomes = |lost_before| {
            let mut attempts = [attempt("a"), attempt("b")];
            forget_lost(&mut attempts, &log, lost_before);
            attempts.map(|attempt| attempt.outcome)
        };
        assert_eq!(outcomes(2), [Outcome::Ok, Outcome::Unknown]);
        assert_eq!(outcomes(1), [Outcome::Ok, Outcome::Ok]);
    }

    #[test]
    fn a_checkpoint_beyond_the_end_is_told() {
        let ends = BTreeMap::from([(("order.events".to_owned(), 3), 7)]);
        let at = |next| Positions::from([(("order_detail".to_owned(), "order.events".to_owned(), 3), next)]);
        assert!(beyond_the_end(&at(7), &ends).is_empty());
        assert_eq!(beyond_the_end(&at(8), &ends)[0].invariant, "I12");
    }
}
