//! Why nothing, or not everything, was exported.

use std::path::{Path, PathBuf};

use eventlog::{LogError, Partition, TailError};
use parquet::errors::ParquetError;
use schemas::{CodecError, Topic};

use crate::layout::Layout;

/// Why nothing, or not everything, was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The topic has fewer partitions.
    #[error("{} has no partition {number}: they are 0 to {}", topic.name, topic.partitions.saturating_sub(1))]
    NoPartition {
        /// The topic.
        topic: &'static Topic,
        /// What was asked for.
        number: u32,
    },
    /// Another process exports into the directory.
    #[error("another process exports into {}; wait until it has ended, or name another directory", .0.display())]
    Busy(PathBuf),
    /// The log is not the one that was exported before.
    #[error("what {} holds is of another log; export this one into an empty directory", dir.display())]
    Diverged {
        /// The topic's part of the directory.
        dir: PathBuf,
        /// Which partition, and what is different.
        #[source]
        source: TailError,
    },
    /// A file that the checkpoint contradicts: somebody else changed the directory.
    #[error(
        "{} reaches past the checkpoint, which is at {next}: the directory is not as an export left it; export into an \
         empty one", file.display()
    )]
    Contradicted {
        /// The file.
        file: PathBuf,
        /// Offset of the next record by the checkpoint.
        next: u64,
    },
    /// A checkpoint that is not one of this build.
    #[error("{} is no checkpoint that this build can read: {detail}; export into an empty directory", file.display())]
    Checkpoint {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The log could not be asked or read. What is exported stays; the next run goes on.
    #[error("reading the log failed; run it again, and it goes on")]
    Log(#[from] LogError),
    /// Nothing comes, though the log has more.
    #[error("{partition} has records up to {end}, but nothing comes after {next}; run it again, and it goes on")]
    Stalled {
        /// Where.
        partition: Partition,
        /// Offset of the next record.
        next: u64,
        /// Where the partition ended when the export began.
        end: u64,
    },
    /// The registry did not give a schema. What is exported stays; the next run goes on.
    #[error("asking for a schema failed; run it again, and it goes on")]
    Registry(#[source] CodecError),
    /// A schema of this build has no columns.
    #[error("the schema of {record} cannot be turned into columns: {detail}")]
    Columns {
        /// Which record type.
        record: &'static str,
        /// Why not.
        detail: String,
    },
    /// The disk.
    #[error("{doing} {} failed", path.display())]
    Disk {
        /// What was attempted.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Parquet, or the disk below it.
    #[error("writing {} failed", file.display())]
    Parquet {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: ParquetError,
    },
}

impl ExportError {
    pub(crate) fn reading(layout: &Layout, error: TailError) -> Self {
        match error {
            TailError::Log(error) => Self::Log(error),
            source @ TailError::Diverged { .. } => Self::Diverged { dir: layout.dir(), source },
        }
    }

    pub(crate) fn disk(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { doing, path, source }
    }
}
