//! The log as Parquet files, for analysts.
//!
//! One record per decision that counts, refused demand included; no claim and nothing void, because it is read through
//! [`eventlog::Tail`]. Each type of record is a dataset of its own, whose columns follow from its Avro schema ([`columns`]):
//! a new type of event needs nothing here. A record that counts but cannot be read goes to `_unreadable`, with its bytes.
//!
//! ```text
//! DIR/order.events/OrderPlaced/partition=03/00000000000000000000-00000000000000012345.parquet
//! DIR/order.events/CommandRefused/partition=03/…
//! DIR/order.events/_unreadable/partition=03/…
//! DIR/order.events/_checkpoints/03.json
//! ```
//!
//! A file holds what its type has between two offsets, both included. Files are renamed into their place first, then the
//! partition's checkpoint is: a run that was killed left at most files behind the checkpoint, and the next run removes them
//! by their names before it goes on. So each record stands in exactly one file, whenever a run ends.

mod checkpoints;
pub mod columns;
mod durable;
mod envelope;
mod error;
mod file;
mod layout;
mod partition;
mod report;
mod segment;

use std::path::PathBuf;

use eventlog::{Checkpoint, EventLog, Partition};
use schemas::{Codec, Topic};

pub use error::ExportError;
pub use report::{File, Step, Summary};

use columns::Columns;
use layout::{Layout, Lock};
use partition::Reading;

/// When files are finished. Memory is bounded by it: the files of one partition are open at a time.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Records in the files of a partition that are open at a time.
    pub records: u64,
    /// Bytes of their keys, headers and payloads.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 128 << 10, bytes: 64 << 20 }
    }
}

/// What is exported, and to where.
#[derive(Debug, Clone)]
pub struct Export {
    /// Of which topic.
    pub topic: &'static Topic,
    /// One partition; all without it.
    pub partition: Option<u32>,
    /// Into which directory. It is made.
    pub to: PathBuf,
    /// When files are finished.
    pub limits: Limits,
}

impl Export {
    /// Exports what `log` has now and is not exported yet. `watch` is told what happens.
    ///
    /// Blocks, for as long as it takes.
    ///
    /// # Errors
    /// When the directory is in use or holds what was exported from another log: then nothing was changed. When the log, the
    /// registry or the disk fails: then the same call goes on where this one ended.
    pub fn run(&self, log: &dyn EventLog, codec: &Codec, watch: &mut dyn FnMut(&Step)) -> Result<Summary, ExportError> {
        let partitions = self.partitions()?;
        let layout = Layout { root: self.to.clone(), topic: self.topic };
        let _lock = Lock::take(&layout)?;
        let mut columns = Columns::new(self.topic, codec)?;
        let parts = partitions.into_iter().map(|partition| Part::look(log, &layout, partition));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        watch(&Step::Began { records: parts.iter().map(Part::left).sum() });
        let mut summary = Summary::new(self.topic, parts.len());
        for Part { partition, checkpoint, end } in parts {
            layout.remove_leftovers(partition, checkpoint.map_or(0, |checkpoint| checkpoint.next))?;
            let reading = Reading { log, layout: &layout, partition, end, limits: self.limits };
            reading.run(checkpoint, &mut columns, &mut summary, watch)?;
        }
        Ok(summary)
    }

    fn partitions(&self) -> Result<Vec<Partition>, ExportError> {
        let all = Partition::all(self.topic);
        let wanted: Vec<_> = all.filter(|one| self.partition.is_none_or(|number| one.number == number)).collect();
        match self.partition {
            Some(number) if wanted.is_empty() => Err(ExportError::NoPartition { topic: self.topic, number }),
            _ => Ok(wanted),
        }
    }
}

/// A partition, how far it is exported, and where it ends.
struct Part {
    partition: Partition,
    checkpoint: Option<Checkpoint>,
    end: u64,
}

impl Part {
    /// Every partition is looked at before anything is written: a log that is another one changes nothing.
    fn look(log: &dyn EventLog, layout: &Layout, partition: Partition) -> Result<Self, ExportError> {
        let end = log.end(partition)?;
        let checkpoint = checkpoints::read(layout, partition)?;
        if let Some(checkpoint) = &checkpoint {
            checkpoint.verify(log, partition).map_err(|error| ExportError::reading(layout, error))?;
        }
        Ok(Self { partition, checkpoint, end })
    }

    fn left(&self) -> u64 {
        self.end.saturating_sub(self.checkpoint.map_or(0, |checkpoint| checkpoint.next))
    }
}
