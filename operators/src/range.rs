//! Reads a few records where they are.

use std::time::{Duration, Instant};

use domain::Timestamp;
use eventlog::{EventLog, LogError, Partition, Stored};

/// How long nothing may come where records must be.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(500);

/// The records of `partition` from offset `from` up to `to`, which the log has.
///
/// # Errors
/// When the log cannot be read.
pub fn read(log: &dyn EventLog, partition: Partition, from: u64, to: u64) -> Result<Vec<Stored>, LogError> {
    let mut found: Vec<Stored> = Vec::new();
    if from >= to {
        return Ok(found);
    }
    let mut reader = log.reader(&[(partition, from)])?;
    let mut deadline = Instant::now() + PATIENCE;
    let mut next = from;
    while next < to {
        let batch = reader.poll(usize::try_from(to - next).unwrap_or(usize::MAX), POLL)?;
        match batch.last() {
            Some(last) => {
                next = last.offset + 1;
                deadline = Instant::now() + PATIENCE;
            }
            None if Instant::now() < deadline => {}
            None => {
                let doing = format!("reading {partition} from {next} to {to}");
                return Err(LogError::Unavailable { doing, detail: "nothing comes".to_owned() });
            }
        }
        found.extend(batch);
    }
    Ok(found)
}

/// RFC 3339, in UTC, to the millisecond: texts of times sort as times do.
#[must_use]
pub fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |time| format!("{time:.3}"))
}
