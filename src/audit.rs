//! `lonja audit`

use serde_json::Value;

use crate::Failure;
use crate::cli::Audit;
use crate::operator::{Client, run as run_verb};

/// Shows what operators did.
///
/// # Errors
/// When the process does not answer.
pub fn run(args: &Audit) -> Result<(), Failure> {
    run_verb(async {
        let query = [("limit", Some(args.limit.to_string()))];
        let answer: Value = Client::new(&args.operator)?.get("/v1/audit", &query).await?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&answer["data"])?);
        } else {
            print(answer["data"].as_array().map_or(&[], Vec::as_slice));
        }
        Ok(())
    })
}

fn print(entries: &[Value]) {
    if entries.is_empty() {
        println!("nobody has changed anything yet");
    }
    for entry in entries {
        let text = |name: &str| entry[name].as_str().unwrap_or("-");
        println!("{}  {}  {} {}: {}", text("time"), text("operator"), text("verb"), text("target"), text("reason"));
        if entry["before"] != entry["after"] {
            println!("    {} -> {}", entry["before"], entry["after"]);
        }
        if let Some(error) = entry["error"].as_str() {
            println!("    offset {} is not an entry: {error}", entry["offset"]);
        }
    }
}
