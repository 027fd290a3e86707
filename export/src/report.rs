//! What an export tells whoever watches it.

use schemas::Topic;
use serde::Serialize;

/// Something that happened.
#[derive(Debug)]
pub enum Step {
    /// So many records of the log are not exported yet.
    Began {
        /// How many, whether they count or not.
        records: u64,
    },
    /// So many more were read, and written into files that have no name yet.
    Read {
        /// How many, whether they count or not.
        records: u64,
    },
    /// A file has its name. The next run would still remove it.
    Named(File),
    /// The checkpoint has passed these files: they are for good.
    Kept(Vec<File>),
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    /// Where it is, below the directory.
    pub file: String,
    /// What it holds: the type of its events, or `_unreadable`.
    pub dataset: String,
    /// Of which partition.
    pub partition: u32,
    /// It holds what its dataset has from this offset on …
    pub first: u64,
    /// … to this one, included.
    pub last: u64,
    /// How many records it holds.
    pub records: u64,
    /// Its size.
    pub bytes: u64,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Of which topic.
    pub topic: &'static str,
    /// Of how many partitions.
    pub partitions: usize,
    /// How many records of the log were read.
    pub read: u64,
    /// How many of them are exported: those that count, the unreadable ones included.
    pub exported: u64,
    /// How many of those cannot be read, and stand in `_unreadable`.
    pub unreadable: u64,
    /// How many were void.
    pub void: u64,
    /// How many files were made.
    pub files: u64,
    /// Their size together.
    pub bytes: u64,
}

impl Summary {
    pub(crate) fn new(topic: &'static Topic, partitions: usize) -> Self {
        Self { topic: topic.name, partitions, read: 0, exported: 0, unreadable: 0, void: 0, files: 0, bytes: 0 }
    }
}
