//! `lonja replay`

mod page;

use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Failure;
use crate::cli::replay::{Replay, ReplayBack, ReplayChange, ReplayDiff, ReplayResume, ReplayStart, ReplayStatus};
use crate::operator::{Client, run as run_verb};

/// How often it is looked how something is coming on.
const POLL: Duration = Duration::from_secs(1);
/// Characters of a progress bar.
const BAR: usize = 24;

/// Does it.
///
/// # Errors
/// When the process does not answer or refuses; when a verification found differences.
pub fn run(verb: &Replay) -> Result<(), Failure> {
    run_verb(async {
        match verb {
            Replay::Start(args) => start(args).await,
            Replay::Status(args) => status(args).await,
            Replay::Pause(args) => change("pause", args).await,
            Replay::Resume(args) => resume(args).await,
            Replay::Widen(args) => change("widen", args).await,
            Replay::Cancel(args) => change("cancel", args).await,
            Replay::Promote(args) => change("promote", args).await,
            Replay::Retire(args) => change("retire", args).await,
            Replay::Verify(args) => verify(args).await,
            Replay::Diff(args) => diff(args).await,
            Replay::Rollback(args) => rollback(args).await,
        }
    })
}

async fn start(args: &ReplayStart) -> Result<(), Failure> {
    let ReplayStart { view, rate, partitions, from, reason, operator } = args;
    let body = json!({ "view": view, "rate": rate, "partitions": partitions, "from": from, "reason": reason });
    print(&Client::new(operator)?.change(Method::POST, "/v1/replays/start", &body).await?);
    Ok(())
}

async fn status(ReplayStatus { view, watch, json, operator }: &ReplayStatus) -> Result<(), Failure> {
    let client = Client::new(operator)?;
    loop {
        let answer: Value = client.get("/v1/replays", &[("view", view.clone())]).await?;
        if *json {
            println!("{}", serde_json::to_string_pretty(&answer)?);
            return Ok(());
        }
        let rows = answer["data"].as_array().map_or(&[][..], Vec::as_slice);
        rows.iter().for_each(print);
        if !watch || !rows.iter().any(|row| row["state"] == "building") {
            return Ok(());
        }
        sleep(POLL).await;
    }
}

async fn change(verb: &str, args: &ReplayChange) -> Result<(), Failure> {
    print(&changed(verb, args).await?);
    Ok(())
}

async fn resume(ReplayResume { change, rate }: &ReplayResume) -> Result<(), Failure> {
    let ReplayChange { view, generation, reason, operator } = change;
    let body = json!({ "view": view, "generation": generation, "rate": rate, "reason": reason });
    print(&Client::new(operator)?.change(Method::POST, "/v1/replays/resume", &body).await?);
    Ok(())
}

async fn changed(verb: &str, args: &ReplayChange) -> Result<Value, Failure> {
    let ReplayChange { view, generation, reason, operator } = args;
    let body = json!({ "view": view, "generation": generation, "reason": reason });
    Ok(Client::new(operator)?.change(Method::POST, &format!("/v1/replays/{verb}"), &body).await?)
}

async fn rollback(ReplayBack { view, reason, operator }: &ReplayBack) -> Result<(), Failure> {
    let body = json!({ "view": view, "reason": reason });
    print(&Client::new(operator)?.change(Method::POST, "/v1/replays/rollback", &body).await?);
    Ok(())
}

/// Waits for what the comparison finds.
async fn verify(args: &ReplayChange) -> Result<(), Failure> {
    let begun = changed("verify", args).await?;
    let found = |row: &Value| (row["verified"].clone(), row["trouble"].clone());
    let before = found(&begun);
    let client = Client::new(&args.operator)?;
    loop {
        sleep(POLL).await;
        let answer: Value = client.get("/v1/replays", &[("view", Some(args.view.clone()))]).await?;
        let row =
            answer["data"].as_array().and_then(|rows| rows.iter().find(|row| row["generation"] == args.generation));
        let row = row.ok_or_else(|| anyhow!("generation {} is gone", args.generation))?;
        if found(row) == before {
            continue;
        }
        print(row);
        return match (row["trouble"].as_str(), row["verified"]["differences"].as_u64()) {
            (Some(trouble), _) => Err(anyhow!("it could not be compared: {trouble}").into()),
            (None, Some(0)) => Ok(()),
            (None, differences) => Err(anyhow!("{} rows are not what the log says", differences.unwrap_or(0)).into()),
        };
    }
}

async fn diff(ReplayDiff { view, generation, limit, json, html, operator }: &ReplayDiff) -> Result<(), Failure> {
    let query = [
        ("view", Some(view.clone())),
        ("generation", Some(generation.to_string())),
        ("limit", Some(limit.to_string())),
    ];
    let diff: Value = Client::new(operator)?.get("/v1/replays/diff", &query).await?;
    if let Some(file) = html {
        std::fs::write(file, page::render(&diff)).with_context(|| format!("writing {}", file.display()))?;
    }
    if *json {
        println!("{}", serde_json::to_string_pretty(&diff)?);
        return Ok(());
    }
    println!(
        "{}: generation {} against {}, which is live",
        diff["view"].as_str().unwrap_or("-"),
        diff["to"],
        diff["from"]
    );
    println!(
        "{} rows are the same, {} added, {} removed, {} changed",
        diff["same"], diff["added"], diff["removed"], diff["changed"]
    );
    for change in diff["samples"].as_array().into_iter().flatten() {
        println!("{}", change["key"].as_str().unwrap_or("-"));
        println!("    live {}\n    new  {}", change["from"], change["to"]);
    }
    Ok(())
}

fn print(row: &Value) {
    let number = |name: &str| row[name].as_f64().unwrap_or(0.0);
    let share = if number("total") > 0.0 { number("records") / number("total") } else { 1.0 };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the bar")]
    let done = ((share * BAR as f64) as usize).min(BAR);
    let bar = format!("[{}{}]", "#".repeat(done), " ".repeat(BAR - done));
    let mut line = format!(
        "{:<14} {:>3}  {:<11} {bar} {:>5.1} %  lag {} events, {:.1} s",
        row["view"].as_str().unwrap_or("-"),
        row["generation"],
        row["state"].as_str().unwrap_or("-"),
        100.0 * share,
        row["lag_events"],
        number("lag_seconds"),
    );
    if row["state"] == "building" {
        line += &format!(", {:.0} events/s", number("events_per_second"));
        if let Some(eta) = row["eta_seconds"].as_f64() {
            line += &format!(", {eta:.0} s to go");
        }
    }
    if let Some(differences) = row["verified"]["differences"].as_u64() {
        line += &format!(", {differences} of {} rows differ from the log", row["verified"]["rows"]);
    }
    if let Some(partitions) = row["partitions"].as_array() {
        let names: Vec<_> = partitions.iter().filter_map(Value::as_str).collect();
        line += &format!(", of {} alone", names.join(", "));
    }
    if let Some(from) = row["from"].as_str() {
        line += &format!(", from {from} on");
    }
    println!("{line}");
    for name in ["projector", "trouble"] {
        if let Some(text) = row[name].as_str().filter(|text| *text != "running") {
            println!("    {name}: {text}");
        }
    }
}
