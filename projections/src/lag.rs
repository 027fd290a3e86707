//! How far the views are behind the log, as a metric.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{EventLog, LogError, Partition};
use tokio::time::sleep;

use crate::metrics::LAG_EVENTS;
use crate::progress::Progress;

/// How often the log is asked for its ends.
const EVERY: Duration = Duration::from_secs(5);

/// Measures until it is dropped.
pub(crate) async fn measure(log: Arc<dyn EventLog>, progress: Progress) {
    loop {
        let views: Vec<_> = progress.states().into_iter().map(|(view, _)| (view, progress.reflects(view))).collect();
        let partitions: Vec<Partition> =
            views.iter().flat_map(|(_, next)| next).map(|(partition, _)| *partition).collect();
        let asked = Arc::clone(&log);
        match tokio::task::spawn_blocking(move || ends(&*asked, partitions)).await {
            Ok(Ok(ends)) => {
                for (view, next) in views {
                    let behind = |(partition, next): (Partition, u64)| ends[&partition].saturating_sub(next);
                    let lag: u64 = next.into_iter().map(behind).sum();
                    ::metrics::gauge!(LAG_EVENTS, "view" => view).set(lag as f64);
                }
            }
            Ok(Err(error)) => tracing::warn!(error = crate::projector::chain(&error), "the lag is not known"),
            Err(error) => tracing::error!(%error, "measuring the lag failed"),
        }
        sleep(EVERY).await;
    }
}

fn ends(log: &dyn EventLog, mut partitions: Vec<Partition>) -> Result<BTreeMap<Partition, u64>, LogError> {
    partitions.sort_unstable();
    partitions.dedup();
    partitions.into_iter().map(|partition| Ok((partition, log.end(partition)?))).collect()
}
