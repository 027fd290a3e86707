//! `lonja owners`: who owns each partition, as the owners announced it, and as they say when they are asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use cluster::Cluster;
use commands::Local;
use eventlog::{EventLog, LogError, Partition};
use operators::owners::Owner;
use schemas::topics;

use crate::Failure;
use crate::cli::Owners;
use crate::log::{self, blocking};

/// How long reading the announcements may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether they are read.
const POLL: Duration = Duration::from_millis(20);
/// Names this process to no one: it announces nothing.
const NODE: &str = "lonja-owners";

/// Prints a line for each partition.
///
/// # Errors
/// When the log does not answer.
pub fn run(args: &Owners) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = runtime.block_on(rows(args))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print(&rows);
    }
    Ok(())
}

async fn rows(args: &Owners) -> Result<Vec<Owner>, Failure> {
    let log = log::connect(&args.cluster.kafka, &args.cluster.topic_prefix).await?;
    let log: Arc<dyn EventLog> = Arc::new(log);
    let cluster = {
        let log = Arc::clone(&log);
        blocking(move || Cluster::join(&log, NODE, None)).await?
    };
    let read = async {
        while !cluster.directory().is_caught_up() {
            tokio::time::sleep(POLL).await;
        }
    };
    if tokio::time::timeout(PATIENCE, read).await.is_err() {
        return Err(Failure::Other(anyhow!("the announcements could not be read within {} s", PATIENCE.as_secs())));
    }
    announced(&cluster, log).await
}

/// Every partition, as its owner announced it and says now.
///
/// # Errors
/// When the log does not answer.
pub async fn announced(cluster: &Cluster, log: Arc<dyn EventLog>) -> Result<Vec<Owner>, Failure> {
    let announced = cluster.directory().entries();
    let mut said = BTreeMap::new();
    for entry in announced.values() {
        if !said.contains_key(&entry.address) {
            said.insert(Arc::clone(&entry.address), cluster.owned(&entry.address).await);
        }
    }
    let mut owners = Vec::new();
    for (partition, end) in ends(log).await? {
        let name = partition.to_string();
        let entry = announced.get(&partition);
        let answer = entry.and_then(|entry| said.get(&entry.address));
        let own = answer.map(|answer| answer.as_ref().map(|owned| owned.iter().find(|owned| owned.partition == name)));
        let (state, term, next) = match own {
            None => ("unowned", None, None),
            Some(Err(_)) => ("unreachable", entry.map(|entry| entry.term), None),
            Some(Ok(None)) => ("deposed", entry.map(|entry| entry.term), None),
            Some(Ok(Some(owned))) => match owned.term {
                Some(term) => ("running", Some(term), owned.next),
                None => ("restoring", entry.map(|entry| entry.term), None),
            },
        };
        let lag = next.map(|next| end.saturating_sub(next));
        let (node, address) = (entry.map(|entry| entry.node.clone()), entry.map(|entry| entry.address.to_string()));
        owners.push(Owner { partition: name, node, address, term, state, next, end, lag });
    }
    Ok(owners)
}

/// Every partition of a process that owns all of them.
///
/// # Errors
/// When the log does not answer.
pub async fn of_one(node: &str, local: &Local, log: Arc<dyn EventLog>) -> Result<Vec<Owner>, Failure> {
    let owned = local.owned().await;
    let mut owners = Vec::new();
    for (partition, end) in ends(log).await? {
        let own = owned.iter().find(|owned| owned.partition == partition);
        let (term, next) = own.and_then(|owned| owned.running).unzip();
        let state = match (own, term) {
            (None, _) => "unowned",
            (Some(_), None) => "restoring",
            (Some(_), Some(_)) => "running",
        };
        let lag = next.map(|next| end.saturating_sub(next));
        let (partition, node) = (partition.to_string(), own.map(|_| node.to_owned()));
        owners.push(Owner { partition, node, address: None, term, state, next, end, lag });
    }
    Ok(owners)
}

/// The offset after the last record of each partition.
async fn ends(log: Arc<dyn EventLog>) -> Result<Vec<(Partition, u64)>, Failure> {
    let every = topics::ALL.iter().copied().flat_map(Partition::all);
    blocking(move || every.map(|partition| Ok((partition, log.end(partition)?))).collect::<Result<_, LogError>>()).await
}

fn print(rows: &[Owner]) {
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let number = |value: Option<u64>| text(value.map(|value| value.to_string()));
    println!(
        "{:<18} {:<20} {:<22} {:<11} {:>6} {:>10} {:>10} {:>8}",
        "partition", "node", "address", "state", "term", "next", "end", "lag"
    );
    for Owner { partition, node, address, term, state, next, end, lag } in rows {
        println!(
            "{partition:<18} {:<20} {:<22} {state:<11} {:>6} {:>10} {end:>10} {:>8}",
            text(node.clone()),
            text(address.clone()),
            number(*term),
            number(*next),
            number(*lag)
        );
    }
}
