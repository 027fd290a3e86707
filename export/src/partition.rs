//! Reads one partition to where it ended, and writes what counts.

use std::time::{Duration, Instant};

use eventlog::{Admitted, Checkpoint, EventLog, Partition, Tail};

use crate::columns::{Columns, Sorted};
use crate::layout::Layout;
use crate::segment::Segment;
use crate::{ExportError, Limits, Step, Summary, checkpoints};

/// Records of one poll. Few, because only their number is bounded here, and one may have nearly a megabyte.
const POLL_RECORDS: usize = 100;
/// How long a poll waits; records that were there once are there.
const POLL: Duration = Duration::from_millis(250);
/// After how long without any record the log counts as not answering.
const SILENCE: Duration = Duration::from_secs(10);
/// How many records are read and decoded together …
const BATCH_RECORDS: u64 = 4_096;
/// … unless they have more bytes.
const BATCH_BYTES: u64 = 4 << 20;

/// What is read, and to where it is written.
pub(crate) struct Reading<'e> {
    pub log: &'e dyn EventLog,
    pub layout: &'e Layout,
    pub partition: Partition,
    /// Where the partition ended when the export began.
    pub end: u64,
    pub limits: Limits,
}

/// Records that count, and how many were read for them.
#[derive(Default)]
struct Batch {
    records: Vec<Admitted>,
    bytes: u64,
    read: u64,
}

impl Reading<'_> {
    /// Goes on after `checkpoint`.
    pub(crate) fn run(
        &self,
        checkpoint: Option<Checkpoint>,
        columns: &mut Columns<'_>,
        summary: &mut Summary,
        watch: &mut dyn FnMut(&Step),
    ) -> Result<(), ExportError> {
        let mut next = checkpoint.map_or(0, |checkpoint| checkpoint.next);
        if next >= self.end {
            return Ok(());
        }
        let tail = Tail::open(self.log, &[(self.partition, checkpoint)]);
        let mut tail = tail.map_err(|error| ExportError::reading(self.layout, error))?;
        while next < self.end {
            let mut segment = Segment::begin(self.layout, self.partition, next);
            while next < self.end && segment.room(&self.limits) > 0 {
                let batch = self.collect(&mut tail, segment.room(&self.limits).min(BATCH_RECORDS))?;
                next = tail.next(self.partition);
                let read = batch.read;
                summary.read += read;
                summary.exported += batch.records.len() as u64;
                segment.count(batch.records.len(), batch.bytes);
                summary.unreadable += write(columns.sort(&batch.records)?, &mut segment)?;
                watch(&Step::Read { records: read });
            }
            let files = segment.finish(next - 1, watch)?;
            if let Some(checkpoint) = tail.checkpoint(self.partition) {
                checkpoints::write(self.layout, self.partition, checkpoint)?;
            }
            summary.files += files.len() as u64;
            summary.bytes += files.iter().map(|file| file.bytes).sum::<u64>();
            watch(&Step::Kept(files));
        }
        summary.void += tail.voids();
        Ok(())
    }

    /// The next records, at most `enough`: of them those that count.
    fn collect(&self, tail: &mut Tail, enough: u64) -> Result<Batch, ExportError> {
        let from = tail.next(self.partition);
        let mut batch = Batch::default();
        let mut heard = Instant::now();
        loop {
            let next = tail.next(self.partition);
            batch.read = next - from;
            if next >= self.end || batch.read >= enough || batch.bytes >= BATCH_BYTES {
                return Ok(batch);
            }
            // No further than the end that it had: somebody may append faster than this reads.
            let max = (enough - batch.read).min(self.end - next);
            let max = usize::try_from(max).unwrap_or(POLL_RECORDS).min(POLL_RECORDS);
            let admitted = tail.poll(max, POLL).map_err(|error| ExportError::reading(self.layout, error))?;
            if tail.next(self.partition) > next {
                heard = Instant::now();
            } else if heard.elapsed() > SILENCE {
                return Err(ExportError::Stalled { partition: self.partition, next, end: self.end });
            }
            batch.bytes += admitted.iter().map(bytes_of).sum::<u64>();
            batch.records.extend(admitted);
        }
    }
}

fn bytes_of(admitted: &Admitted) -> u64 {
    let record = &admitted.record;
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    (record.key.len() + headers + record.payload.len()) as u64
}

/// How many of them cannot be read.
fn write(sorted: Sorted, segment: &mut Segment<'_>) -> Result<u64, ExportError> {
    for piece in &sorted.pieces {
        segment.write(piece)?;
    }
    Ok(sorted.unreadable)
}
