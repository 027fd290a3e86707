//! `lonja log`

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use anyhow::anyhow;
use serde::Deserialize;
use serde_json::Value;

use crate::Failure;
use crate::cli::records::{Look, Records};
use crate::operator::{Client, Refused, run as run_verb};

/// Most records of one answer.
const PAGE: u64 = 1_000;
/// How often it is looked for new records.
const FOLLOW: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
struct Page {
    data: Vec<Value>,
    next: String,
    has_more: bool,
}

/// Shows records, or counts them.
///
/// # Errors
/// When the process does not answer, or not with what was asked for.
pub fn run(look: &Look) -> Result<(), Failure> {
    run_verb(async {
        match look {
            Look::Tail { records, follow } => tail(records, *follow).await,
            Look::Show { records, from, since } => {
                let from = from.or(since.is_none().then_some(0)).map(|from| from.to_string());
                let reader = Reader::new(records)?;
                let mut left = records.limit;
                let mut page = reader.page(from, since.clone(), left).await?;
                loop {
                    reader.print(&page.data)?;
                    left -= page.data.len() as u64;
                    if left == 0 || !page.has_more {
                        return Ok(());
                    }
                    page = reader.page(Some(page.next), None, left).await?;
                }
            }
            Look::Stats { operator, topic, partition, json } => {
                let client = Client::new(operator)?;
                let stats = stats(&client, topic, *partition).await?;
                if *json {
                    println!("{}", serde_json::to_string_pretty(&stats)?)
                } else {
                    print_stats(&stats)
                }
                Ok(())
            }
        }
    })
}

async fn tail(records: &Records, follow: bool) -> Result<(), Failure> {
    if records.limit > PAGE {
        return Err(Failure::Other(anyhow!(
            "a tail has at most {PAGE} records; `lonja log show` reads on from a place"
        )));
    }
    let reader = Reader::new(records)?;
    let mut page = reader.page(records.key.is_some().then(|| "0".to_owned()), None, records.limit).await?;
    if records.key.is_some() {
        // Where the newest records of a key are only its whole history tells.
        let limit = usize::try_from(records.limit).unwrap_or(usize::MAX);
        let mut newest = VecDeque::from(page.data);
        while page.has_more {
            page = reader.page(Some(page.next), None, PAGE).await?;
            newest.extend(std::mem::take(&mut page.data));
            newest.drain(..newest.len().saturating_sub(limit));
        }
        page.data = newest.into();
    }
    loop {
        reader.print(&page.data)?;
        if !follow {
            return Ok(());
        }
        if !page.has_more {
            tokio::time::sleep(FOLLOW).await;
        }
        page = reader.page(Some(page.next), None, PAGE).await?;
    }
}

struct Reader<'r> {
    client: Client,
    records: &'r Records,
}

impl<'r> Reader<'r> {
    fn new(records: &'r Records) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(&records.operator)?, records })
    }

    async fn page(&self, from: Option<String>, since: Option<String>, limit: u64) -> Result<Page, Failure> {
        let Records { topic, partition, key, .. } = self.records;
        let query = [
            ("partition", partition.map(|number| number.to_string())),
            ("key", key.clone()),
            ("from", from),
            ("since", since),
            ("limit", Some(limit.min(PAGE).to_string())),
        ];
        loop {
            match self.client.get(&format!("/v1/log/{topic}"), &query).await {
                Ok(page) => return Ok(page),
                Err(Refused::Problem(problem)) if problem.code == "still_reading" => {
                    progress(&problem.facts["read_to"], &problem.facts["of"]);
                }
                Err(refused) => return Err(refused.into()),
            }
        }
    }

    fn print(&self, records: &[Value]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        for record in records {
            if self.records.json {
                writeln!(out, "{record}")?;
            } else {
                writeln!(out, "{}", line(record))?;
            }
        }
        Ok(out.flush()?)
    }
}

/// A record on one line; what does not count stands out.
fn line(record: &Value) -> String {
    let text = |name: &str| record[name].as_str().unwrap_or_default();
    let verdict = match text("verdict") {
        "void" => format!("VOID ({})", text("reason")),
        verdict => verdict.to_owned(),
    };
    let place = format!("{}@{}", record["partition"], record["offset"]);
    let what = match record["error"].as_str() {
        Some(error) => format!("cannot be read: {error}: {}", text("payload_base64")),
        None => record["payload"].to_string(),
    };
    let term = record["term"].as_u64().map_or_else(String::new, |term| format!("{term}.{}", record["sequence"]));
    format!("{place:<9} {}  {verdict:<5} {term:<7} {} {} {what}", text("time"), text("key"), text("type"))
}

/// Nobody should wonder what takes so long.
fn progress(read_to: &Value, of: &Value) {
    eprintln!("reading the log, because what counts depends on all that stands before: {read_to} of {of}");
}

async fn stats(client: &Client, topic: &str, partition: Option<u32>) -> Result<Value, Failure> {
    let query = [("partition", partition.map(|number| number.to_string()))];
    loop {
        let stats: Value = client.get(&format!("/v1/log/{topic}/stats"), &query).await?;
        if stats["complete"] == true {
            return Ok(stats);
        }
        let sum = |name: &str| -> u64 { rows(&stats).iter().filter_map(|row| row[name].as_u64()).sum() };
        progress(&sum("read_to").into(), &sum("end").into());
    }
}

fn rows(stats: &Value) -> &[Value] {
    stats["partitions"].as_array().map_or(&[], Vec::as_slice)
}

fn print_stats(stats: &Value) {
    println!(
        "{:>9} {:>10} {:>10} {:>7} {:>7} {:>12} {:>5}  {:<24} {:<24}  void by reason",
        "partition", "records", "valid", "claims", "void", "bytes", "term", "first", "last"
    );
    for row in rows(stats) {
        let number = |name: &str| row[name].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        let time = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let void: Option<u64> = row["void"].as_object().map(|void| void.values().filter_map(Value::as_u64).sum());
        let reasons = row["void"].as_object().filter(|void| !void.is_empty());
        println!(
            "{:>9} {:>10} {:>10} {:>7} {:>7} {:>12} {:>5}  {:<24} {:<24}  {}",
            number("partition"),
            number("records"),
            number("valid"),
            number("claims"),
            void.map_or_else(|| "-".to_owned(), |void| void.to_string()),
            number("bytes"),
            number("term"),
            time("first"),
            time("last"),
            reasons.map_or_else(String::new, |reasons| serde_json::to_string(reasons).unwrap_or_default()),
        );
    }
}
