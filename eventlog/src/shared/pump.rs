//! The thread that reads for all followers.

use std::sync::Arc;
use std::time::Duration;

use schemas::Envelope;

use super::Feed;
use super::buffer::weight;
use crate::{EventLog, LogError};

/// How much is kept for followers, in bytes.
const BUDGET: usize = 16 << 20;
/// Most records that are read at once.
const READ_MAX: usize = 2_000;
/// How long a read waits for records; so long may also leaving take.
const WAIT: Duration = Duration::from_millis(100);

/// Reads until nobody follows any more, or the log fails.
pub(super) fn run(feed: Arc<Feed>, log: Arc<dyn EventLog>) {
    // Dropped last, also by a panic: then nobody waits for this thread any more, and it has let go of the log.
    let ending = Ending(feed);
    if let Err(error) = read(&ending.0, log) {
        tracing::debug!(error = &error as &dyn std::error::Error, "shared reading failed");
    }
}

struct Ending(Arc<Feed>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the log must be let go of at the end")]
fn read(feed: &Feed, log: Arc<dyn EventLog>) -> Result<(), LogError> {
    let mut reader = None;
    let mut partitions = 0;
    let mut max = READ_MAX;
    loop {
        let from: Vec<_> = {
            let buffer = feed.buffer.lock();
            if buffer.cursors.is_empty() {
                return Ok(());
            }
            buffer.next.iter().map(|(partition, next)| (*partition, *next)).collect()
        };
        // They only become more.
        if from.len() > partitions {
            partitions = from.len();
            reader = None;
        }
        let reader = match &mut reader {
            Some(reader) => reader,
            none => none.insert(log.reader(&from)?),
        };
        let mut batch = reader.poll(max, WAIT)?;
        if batch.is_empty() {
            continue;
        }
        for stored in &mut batch {
            // What cannot be read is every follower's own finding.
            let Ok(envelope) = Envelope::from_headers(&stored.record.headers) else { continue };
            stored.event = (feed.decode)(stored, &envelope);
            stored.envelope = Some(Arc::new(envelope));
        }
        let bytes: usize = batch.iter().map(weight).sum();
        max = (BUDGET * batch.len() / bytes.max(1)).clamp(1, READ_MAX);
        let mut buffer = feed.buffer.lock();
        buffer.push(batch);
        feed.changed.notify_all();
        buffer.shrink(BUDGET);
    }
}
