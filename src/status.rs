//! `lonja status`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::Failure;
use crate::cli::Status;
use crate::operator::{Client, run as run_verb};

/// How often it is shown again.
const AGAIN: Duration = Duration::from_secs(2);

/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Shows how the shop is.
///
/// # Errors
/// When the process does not answer.
pub fn run(args: &Status) -> Result<(), Failure> {
    run_verb(async {
        let client = Client::new(&args.operator)?;
        loop {
            let status: Value = client.get("/v1/status", &[]).await?;
            let text = match (args.json, args.watch) {
                (true, true) => status.to_string() + "\n",
                (true, false) => serde_json::to_string_pretty(&status)? + "\n",
                (false, true) => CLEAR.to_owned() + &screen(&status),
                (false, false) => screen(&status),
            };
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
            drop(out);
            if !args.watch {
                return Ok(());
            }
            tokio::time::sleep(AGAIN).await;
        }
    })
}

fn screen(status: &Value) -> String {
    let mut text = views(items(&status["views"]));
    text += "\n";
    text += &owners(items(&status["owners"]));
    if let Some(error) = status["owners_error"].as_str() {
        text += &format!("owners are not known: {error}\n");
    }
    text += "\n";
    text += &void(items(&status["void_records"]));
    text
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn views(views: &[Value]) -> String {
    let mut text = format!(
        "{:<16} {:<9} {:<10} {:>7} {:>6} {:>10} {:>9} {:>10} {:>8}\n",
        "view", "store", "state", "gen", "parked", "lag", "behind", "trend/s", "ETA"
    );
    for view in views {
        let word = |name: &str| view[name].as_str().unwrap_or("-");
        let lag = &view["lag"];
        let shown = |value: &Value, show: fn(f64) -> String| value.as_f64().map_or_else(|| "-".to_owned(), show);
        let line = format!(
            "{:<16} {:<9} {:<10} {:>7} {:>6} {:>10} {:>9} {:>10} {:>8}  {}",
            word("view"),
            word("store"),
            word("state"),
            generations(view),
            view["parked"].as_u64().map_or_else(|| "-".to_owned(), |parked| parked.to_string()),
            shown(&lag["events"], |events| format!("{events}")),
            shown(&lag["seconds"], duration),
            shown(&lag["trend_per_second"], |trend| format!("{trend:+.1}")),
            shown(&lag["eta_seconds"], duration),
            view["reason"].as_str().unwrap_or_default(),
        );
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// The live one, and behind a plus those that are folded beside it.
fn generations(view: &Value) -> String {
    let beside = items(&view["beside"]).iter().map(|number| format!("+{number}"));
    let live = view["generation"].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
    beside.fold(live, |text, number| text + &number)
}

/// A line for the partitions of a topic that one node runs; one more for each that nobody does.
fn owners(owners: &[Value]) -> String {
    let mut running: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
    let mut others = String::new();
    for owner in owners {
        let partition = owner["partition"].as_str().unwrap_or_default();
        let (node, state) = (owner["node"].as_str().unwrap_or("-"), owner["state"].as_str().unwrap_or("-"));
        if state == "running" {
            let topic = partition.split('/').next().unwrap_or_default();
            running.entry((topic, node)).or_default().push(owner);
        } else {
            // Writing into a string does not fail.
            let _ = writeln!(others, "{partition:<16} {node:<20} {state}");
        }
    }
    let mut text = format!("{:<16} {:<20} {:>10} {:>9} {:>10}\n", "owned", "node", "partitions", "terms", "lag");
    for ((topic, node), partitions) in running {
        let terms = || partitions.iter().filter_map(|owner| owner["term"].as_u64());
        let (low, high) = (terms().min().unwrap_or_default(), terms().max().unwrap_or_default());
        let terms = if low == high { low.to_string() } else { format!("{low}-{high}") };
        let lag: u64 = partitions.iter().filter_map(|owner| owner["lag"].as_u64()).sum();
        let _ = writeln!(text, "{topic:<16} {node:<20} {:>10} {terms:>9} {lag:>10}", partitions.len());
    }
    text + &others
}

fn void(void: &[Value]) -> String {
    if void.is_empty() {
        return "void records met by readers of this process: none\n".to_owned();
    }
    let mut text = "void records met by readers of this process since it started (each reader counts):\n".to_owned();
    for row in void {
        let word = |name: &str| row[name].as_str().unwrap_or("-");
        let _ = writeln!(text, "  {:<14} {:<16} {}", word("topic"), word("reason"), row["count"]);
    }
    text
}

/// As `4.2 s`, `3 m 20 s` or `2 h 5 m`.
fn duration(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} m {} s", whole / 60, whole % 60),
        _ => format!("{} h {} m", whole / 3_600, whole % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_screen_says_how_the_shop_is() {
        let lag = json!({"events": 1500, "seconds": 200.4, "trend_per_second": -12.5, "eta_seconds": 7500.0});
        let own = |number: u64, state: &str, term: u64| json!({"partition": format!("order.events/{number}"), "node": "n1", "state": state, "term": term, "lag": 2});
        let status = json!({
            "views": [
                {"view": "order_list", "store": "postgres", "state": "retrying", "reason": "it is down", "lag": lag,
                 "generation": 2, "beside": [3], "parked": 5},
                {"view": "stock_level", "store": "memory", "state": "starting", "lag": null},
            ],
            "owners": [own(0, "running", 3), own(1, "running", 7), own(2, "unreachable", 7)],
            "void_records": [{"topic": "order.events", "reason": "other_term", "count": 4}],
        });
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let screen: Vec<String> = screen(&status).lines().map(words).collect();
        for line in [
            "order_list postgres retrying 2+3 5 1500 3 m 20 s -12.5 2 h 5 m it is down",
            "stock_level memory starting - - - - - -",
            "order.events n1 2 3-7 4",
            "order.events/2 n1 unreachable",
            "order.events other_term 4",
        ] {
            assert!(screen.contains(&line.to_owned()), "{line:?} is not in {screen:#?}");
        }
    }
}
