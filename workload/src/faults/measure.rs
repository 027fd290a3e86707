//! How soon answers came again, read from a history.

use std::collections::BTreeMap;

use crate::history::{Attempt, Outcome};

/// What must be answered again for a shop to have recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// Any command.
    Command,
    /// A command in each partition of the log that had an answer before: where a fault strikes only some of them.
    EachPartition,
    /// A read, with the token of a write, of the pages whose path begins so.
    Read(&'static str),
}

/// Seconds from `since` (milliseconds since 1970) to the answer; `None` if there was none.
#[must_use]
pub fn recovery_s(attempts: &[Attempt], since: i64, recovered: &Recovered) -> Option<f64> {
    let later = |attempt: &&Attempt| attempt.ended_ms > since;
    let ended = |attempt: &Attempt| attempt.ended_ms;
    let first = match recovered {
        Recovered::Command => decided(attempts).filter(later).map(ended).min(),
        Recovered::Read(path) => {
            let answered =
                |read: &&Attempt| read.is_read() && read.outcome == Outcome::Ok && read.path.starts_with(path);
            // Sent later, too: what it waited for happened after the fault.
            attempts.iter().filter(answered).filter(|read| read.sent_ms > since).map(ended).min()
        }
        Recovered::EachPartition => {
            let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
            for attempt in decided(attempts) {
                let Some((partition, _)) = attempt.position.as_ref().and_then(|position| position.split_once('@'))
                else {
                    continue;
                };
                let times = if later(&attempt) { &mut after } else { &mut before };
                let time = times.entry(partition).or_insert(attempt.ended_ms);
                *time = (*time).min(attempt.ended_ms);
            }
            after.iter().filter(|(partition, _)| before.contains_key(*partition)).map(|(_, time)| *time).max()
        }
    };
    first.map(|ended| seconds(ended - since))
}

/// Longest time between two definite answers to commands, in seconds.
#[must_use]
pub fn longest_pause_s(attempts: &[Attempt]) -> f64 {
    let mut times: Vec<i64> = decided(attempts).map(|attempt| attempt.ended_ms).collect();
    times.sort_unstable();
    seconds(times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0))
}

fn decided(attempts: &[Attempt]) -> impl Iterator<Item = &Attempt> {
    attempts.iter().filter(|attempt| !attempt.is_read() && attempt.outcome.is_decided())
}

#[allow(clippy::cast_precision_loss, reason = "a run is far shorter than 2^53 ms")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::samples;

    fn at(ended_ms: i64, position: &str) -> Attempt {
        Attempt { sent_ms: ended_ms - 1, ended_ms, position: Some(position.into()), ..samples::attempt("a") }
    }

    #[test]
    fn the_next_answer_ends_the_recovery() {
        let history =
            [at(1_000, "t/0@1"), at(2_000, "t/1@1"), at(3_500, "t/0@2"), at(5_000, "t/1@2"), at(9_000, "t/2@0")];
        let recovery = |recovered| recovery_s(&history, 2_500, &recovered);
        assert_eq!(recovery(Recovered::Command), Some(1.0));
        assert_eq!(recovery(Recovered::EachPartition), Some(2.5), "t/2 had no answer before");
        assert_eq!(recovery(Recovered::Read("/v1/orders")), None);
        assert_eq!(longest_pause_s(&history), 4.0);
    }

    #[test]
    fn a_read_counts_when_it_was_sent_after_the_fault() {
        let read = |sent_ms| Attempt { method: "GET".into(), sent_ms, ended_ms: 4_000, ..samples::attempt("a") };
        let of = |reads: &[Attempt]| recovery_s(reads, 2_500, &Recovered::Read("/v1/orders"));
        assert_eq!(of(&[read(2_000)]), None);
        assert_eq!(of(&[read(2_000), read(3_000)]), Some(1.5));
    }
}
