//! `lonja parked`

use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Failure;
use crate::cli::parked::{
    Parked, ParkedCorrect, ParkedDiscard, ParkedGroup, ParkedKey, ParkedList, ParkedRetry, ParkedShow,
};
use crate::operator::{Client, run as run_verb};

/// How long a verb waits to say what came of it.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it looks.
const POLL: Duration = Duration::from_millis(200);
/// Aggregates of one view that are looked at.
const EVERY: &str = "1000";

/// Does it.
///
/// # Errors
/// When the process does not answer or refuses; when what was tried again is still parked.
pub fn run(verb: &Parked) -> Result<(), Failure> {
    run_verb(async {
        match verb {
            Parked::List(args) => list(args).await,
            Parked::Group(args) => group(args).await,
            Parked::Show(args) => show(args).await,
            Parked::Retry(args) => retry(args).await,
            Parked::Discard(args) => discard(args).await,
            Parked::Correct(args) => correct(args).await,
        }
    })
}

async fn list(ParkedList { view, limit, json, operator }: &ParkedList) -> Result<(), Failure> {
    let query = [("view", view.clone()), ("limit", Some(limit.to_string()))];
    let answer: Value = Client::new(operator)?.get("/v1/parked", &query).await?;
    if *json {
        return print_json(&answer);
    }
    let rows = rows(&answer);
    if rows.is_empty() {
        println!("nothing is parked");
        return Ok(());
    }
    println!(
        "{:<14} {:<18} {:<36} {:>6} {:<13} {:>5}  since, why",
        "view", "partition", "key", "events", "cause", "tried"
    );
    for row in rows {
        let [view, partition, key, cause, since, detail] =
            texts(row, ["view", "partition", "key", "cause", "parked_at", "detail"]);
        let (events, attempts) = (&row["events"], &row["attempts"]);
        println!("{view:<14} {partition:<18} {key:<36} {events:>6} {cause:<13} {attempts:>5}  {since} {detail}");
    }
    println!("{} of {}", rows.len(), answer["total"]);
    Ok(())
}

async fn group(ParkedGroup { view, json, operator }: &ParkedGroup) -> Result<(), Failure> {
    let answer: Value = Client::new(operator)?.get("/v1/parked/groups", &[("view", view.clone())]).await?;
    if *json {
        return print_json(&answer);
    }
    let rows = rows(&answer);
    if rows.is_empty() {
        println!("nothing is parked");
    }
    for row in rows {
        let [view, cause, kind, detail, since] = texts(row, ["view", "cause", "type", "detail", "since"]);
        println!("{view}: {} keys, {} events since {since}: {cause} {kind}: {detail}", row["keys"], row["events"]);
        let [partition, key] = texts(&row["sample"], ["partition", "key"]);
        println!("    for example: lonja parked show {view} {partition} {key}");
    }
    Ok(())
}

async fn show(ParkedShow { key, json, operator }: &ParkedShow) -> Result<(), Failure> {
    let ParkedKey { view, partition, key } = key;
    let some = |text: &String| Some(text.clone());
    let query =
        [("view", some(view)), ("partition", some(partition)), ("key", some(key)), ("limit", Some(EVERY.into()))];
    let answer: Value = Client::new(operator)?.get("/v1/parked/events", &query).await?;
    if *json {
        return print_json(&answer);
    }
    for event in rows(&answer) {
        let [kind, cause, detail, time] = texts(event, ["type", "cause", "detail", "time"]);
        println!("{partition}@{}  {time}  {kind}: {cause} {detail}", event["offset"]);
        println!("    parked {}, tried {} times", event["parked_at"], event["attempts"]);
        for (name, value) in event["headers"].as_object().into_iter().flatten() {
            println!("    {name}: {}", value.as_str().unwrap_or_default());
        }
        println!("    payload (base64): {}", event["payload"].as_str().unwrap_or_default());
    }
    Ok(())
}

async fn retry(args: &ParkedRetry) -> Result<(), Failure> {
    let ParkedRetry { view, partition, key, cause, limit, dry_run, reason, operator, .. } = args;
    let body = json!({
        "view": view, "partition": partition, "key": key, "cause": cause, "limit": limit, "dry_run": dry_run,
        "reason": reason,
    });
    let client = Client::new(operator)?;
    let answer: Value = client.change(Method::POST, "/v1/parked/retry", &body).await?;
    if *dry_run {
        return print_json(&answer);
    }
    outcome(&client, view, &answer).await
}

async fn discard(ParkedDiscard { key, offset, reason, operator }: &ParkedDiscard) -> Result<(), Failure> {
    let ParkedKey { view, partition, key } = key;
    let body = json!({ "view": view, "partition": partition, "key": key, "offset": offset, "reason": reason });
    let client = Client::new(operator)?;
    let answer: Value = client.change(Method::POST, "/v1/parked/discard", &body).await?;
    outcome(&client, view, &answer).await
}

async fn correct(ParkedCorrect { key, offset, event, reason, operator }: &ParkedCorrect) -> Result<(), Failure> {
    let ParkedKey { view, partition, key } = key;
    let text = std::fs::read(event).with_context(|| format!("reading {}", event.display()))?;
    let event: Value = serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", event.display()))?;
    let body =
        json!({ "view": view, "partition": partition, "key": key, "offset": offset, "event": event, "reason": reason });
    let client = Client::new(operator)?;
    let answer: Value = client.change(Method::POST, "/v1/parked/correct", &body).await?;
    outcome(&client, view, &answer).await
}

/// Waits until the projector has tried what was wished, and says what came of it.
async fn outcome(client: &Client, view: &str, wished: &Value) -> Result<(), Failure> {
    let keys = wished["keys"].as_array().map_or(&[][..], Vec::as_slice);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let query = [("view", Some(view.to_owned())), ("limit", Some(EVERY.to_owned()))];
        let answer: Value = client.get("/v1/parked", &query).await?;
        let is_one =
            |row: &&Value| keys.iter().any(|key| key["partition"] == row["partition"] && key["key"] == row["key"]);
        let left: Vec<&Value> = rows(&answer).iter().filter(is_one).collect();
        if left.iter().all(|row| row["wanted"] == false) {
            println!("{} of {} keys are applied", keys.len() - left.len(), keys.len());
            for row in &left {
                let [partition, key, cause, detail] = texts(row, ["partition", "key", "cause", "detail"]);
                println!("still parked: {partition} {key} at {}: {cause} {detail}", row["offset"]);
            }
            let failed = left.iter().any(|row| row["cause"] != "behind");
            return if failed { Err(anyhow!("{} keys are still parked", left.len()).into()) } else { Ok(()) };
        }
        if Instant::now() > deadline {
            let seconds = PATIENCE.as_secs();
            return Err(anyhow!(
                "it is on record, and not carried out within {seconds} s: is the view folded anywhere?"
            )
            .into());
        }
        tokio::time::sleep(POLL).await;
    }
}

fn rows(answer: &Value) -> &[Value] {
    answer["data"].as_array().map_or(&[], Vec::as_slice)
}

fn texts<'v, const N: usize>(row: &'v Value, names: [&str; N]) -> [&'v str; N] {
    names.map(|name| row[name].as_str().unwrap_or("-"))
}

fn print_json(value: &Value) -> Result<(), Failure> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
