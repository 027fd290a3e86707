//! The open files of a partition: of one stretch of it, one for each dataset that has something there.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventlog::Partition;

use crate::columns::Piece;
use crate::file::{Finished, Unfinished};
use crate::layout::Layout;
use crate::{ExportError, File, Limits, Step, durable};

pub(crate) struct Segment<'l> {
    layout: &'l Layout,
    partition: Partition,
    /// The offset of its first record.
    first: u64,
    files: BTreeMap<&'static str, Unfinished>,
    records: u64,
    bytes: u64,
}

impl<'l> Segment<'l> {
    pub(crate) fn begin(layout: &'l Layout, partition: Partition, first: u64) -> Self {
        Self { layout, partition, first, files: BTreeMap::new(), records: 0, bytes: 0 }
    }

    /// Writes rows behind what their dataset has.
    pub(crate) fn write(&mut self, piece: &Piece) -> Result<(), ExportError> {
        if !self.files.contains_key(piece.dataset) {
            let folder = self.layout.folder(piece.dataset, self.partition);
            let file = Unfinished::begin(&folder, self.first, Arc::clone(&piece.schema))?;
            self.files.insert(piece.dataset, file);
        }
        self.files.get_mut(piece.dataset).map_or(Ok(()), |file| file.write(&piece.rows))
    }

    /// Notes what the records were that were written.
    pub(crate) fn count(&mut self, records: usize, bytes: u64) {
        self.records += records as u64;
        self.bytes += bytes;
    }

    /// How many more records it takes.
    pub(crate) fn room(&self, limits: &Limits) -> u64 {
        if self.bytes >= limits.bytes { 0 } else { limits.records.saturating_sub(self.records) }
    }

    /// Finishes every file; `last` is the offset of the last record that was read. All is durable then.
    pub(crate) fn finish(self, last: u64, watch: &mut dyn FnMut(&Step)) -> Result<Vec<File>, ExportError> {
        let mut files = Vec::new();
        for (dataset, file) in self.files {
            let Finished { path, records, bytes } = file.finish(self.first, last)?;
            durable::sync_dir(&self.layout.folder(dataset, self.partition))?;
            let file = File {
                file: self.layout.relative(&path),
                dataset: dataset.to_owned(),
                partition: self.partition.number,
                first: self.first,
                last,
                records,
                bytes,
            };
            watch(&Step::Named(file.clone()));
            files.push(file);
        }
        Ok(files)
    }
}
