//! Transactions that a killed predecessor left open: the server would keep their locks for a minute, and every commit would
//! conflict.

use futures::TryStreamExt;
use mongodb::Database;
use mongodb::bson::{Document, doc};

use super::app_name;
use crate::store::Source;

/// How long nothing was done in a transaction that is at work: less. Between its commands there is hardly any time, and the
/// session of one that has ended serves the next reader, who must not be ended for it.
const INACTIVE_US: i64 = 1_000_000;

/// Ends those of this database. One of a living rival that stands still ends too, and its checkpoint is then not where it
/// expects it.
pub(super) async fn end(database: &Database, view: &'static str) -> Result<(), Source> {
    let admin = database.client().database("admin");
    let inactive = doc! { "$match": {
        "type": "idleSession",
        "transaction.timeInactiveMicros": { "$gte": INACTIVE_US },
        "appName": app_name(database.name()),
    } };
    let sessions = admin.aggregate([doc! { "$currentOp": { "idleSessions": true } }, inactive]).await?;
    let orphans: Vec<Document> = sessions.try_collect().await?;
    let ids = orphans.iter().filter_map(|orphan| orphan.get_document("lsid").ok()?.get("id"));
    let ids: Vec<Document> = ids.map(|id| doc! { "id": id.clone() }).collect();
    if !ids.is_empty() {
        tracing::info!(view, transactions = ids.len(), "ending transactions that a predecessor left open");
        admin.run_command(doc! { "killSessions": ids }).await?;
    }
    Ok(())
}
