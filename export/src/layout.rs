//! Where everything is in the directory, by name.

use std::fs::{self, DirEntry, TryLockError};
use std::path::{Path, PathBuf};

use eventlog::Partition;
use schemas::Topic;

use crate::{ExportError, durable};

/// The dataset of records that count but cannot be read. Tools that read a whole directory pass over names with `_`.
pub(crate) const UNREADABLE: &str = "_unreadable";

/// Where the checkpoints are.
const CHECKPOINTS: &str = "_checkpoints";

/// A directory with exports, and the topic in it.
pub(crate) struct Layout {
    pub root: PathBuf,
    pub topic: &'static Topic,
}

impl Layout {
    /// The topic's part.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.join(self.topic.name)
    }

    /// Where the files of one partition of a dataset are. Named as Hive does, so that tools know the partition by it.
    pub(crate) fn folder(&self, dataset: &str, partition: Partition) -> PathBuf {
        self.dir().join(dataset).join(format!("partition={:02}", partition.number))
    }

    /// How far a partition is exported.
    pub(crate) fn checkpoint(&self, partition: Partition) -> PathBuf {
        self.dir().join(CHECKPOINTS).join(format!("{:02}.json", partition.number))
    }

    /// `file` as it is shown to people: below the directory.
    pub(crate) fn relative(&self, file: &Path) -> String {
        file.strip_prefix(&self.root).unwrap_or(file).display().to_string()
    }

    /// Removes what a run that was killed left of `partition`: unfinished files, and those from `next` on, which no
    /// checkpoint vouches for. Whatever else is there is not ours and stays.
    ///
    /// The removal is durable before anything is written: a file that came back after a power cut, when the checkpoint
    /// has passed it, would have its records twice.
    pub(crate) fn remove_leftovers(&self, partition: Partition, next: u64) -> Result<(), ExportError> {
        for dataset in entries(&self.dir())? {
            let folder = self.folder(&dataset.file_name().to_string_lossy(), partition);
            let mut removed = false;
            for entry in entries(&folder)? {
                let file = entry.path();
                match Name::read(&entry.file_name().to_string_lossy()) {
                    Some(Name::Finished { first, last }) if first < next && last >= next => {
                        return Err(ExportError::Contradicted { file, next });
                    }
                    Some(Name::Finished { first, .. }) if first < next => {}
                    Some(Name::Finished { .. } | Name::Unfinished) => {
                        tracing::debug!(file = %file.display(), "removing what a run that was killed left");
                        fs::remove_file(&file).map_err(ExportError::disk("removing", &file))?;
                        removed = true;
                    }
                    None => {}
                }
            }
            if removed {
                durable::sync_dir(&folder)?;
            }
        }
        Ok(())
    }
}

/// What is in `dir`; nothing where there is none.
fn entries(dir: &Path) -> Result<Vec<DirEntry>, ExportError> {
    let found = match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        found => found.and_then(Iterator::collect),
    };
    found.map_err(ExportError::disk("reading", dir))
}

/// What the name of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// It holds what its dataset has between these offsets, both included.
    Finished { first: u64, last: u64 },
    /// It is being written.
    Unfinished,
}

impl Name {
    pub(crate) fn finished(first: u64, last: u64) -> String {
        format!("{first:020}-{last:020}.parquet")
    }

    pub(crate) fn unfinished(first: u64) -> String {
        format!("_{first:020}.tmp")
    }

    fn read(name: &str) -> Option<Self> {
        let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.len() == 20);
        if let Some((first, last)) = name.strip_suffix(".parquet").and_then(|range| range.split_once('-')) {
            return Some(Self::Finished { first: number(first)?, last: number(last)? });
        }
        let first = name.strip_prefix('_').and_then(|rest| rest.strip_suffix(".tmp"));
        first.and_then(number).map(|_| Self::Unfinished)
    }
}

/// Held while a process exports into the directory. The system lets go of it when the process ends, however it ends.
pub(crate) struct Lock {
    _file: fs::File,
}

impl Lock {
    pub(crate) fn take(layout: &Layout) -> Result<Self, ExportError> {
        durable::make_dir(&layout.dir())?;
        let path = layout.root.join("_lock");
        let file = fs::File::create(&path).map_err(ExportError::disk("making", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(ExportError::Busy(layout.root.clone())),
            Err(TryLockError::Error(error)) => Err(ExportError::disk("locking", &path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_were_written() {
        assert_eq!(Name::read(&Name::finished(0, 12_345)), Some(Name::Finished { first: 0, last: 12_345 }));
        assert_eq!(Name::read(&Name::finished(7, u64::MAX)), Some(Name::Finished { first: 7, last: u64::MAX }));
        assert_eq!(Name::read(&Name::unfinished(7)), Some(Name::Unfinished));
        for foreign in ["0-1.parquet", "part-00000.parquet", "_7.tmp", "notes.txt", "_SUCCESS"] {
            assert_eq!(Name::read(foreign), None, "{foreign}");
        }
    }
}
