//! A Parquet file that is being written.

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::layout::Name;
use crate::{ExportError, durable};

/// Has no name by which anybody would take it for finished, until it is.
pub(crate) struct Unfinished {
    path: PathBuf,
    writer: ArrowWriter<std::fs::File>,
    records: u64,
}

/// What became of it.
pub(crate) struct Finished {
    pub path: PathBuf,
    pub records: u64,
    pub bytes: u64,
}

impl Unfinished {
    /// Begins one in `folder`, which is made, of what stands from `first` on.
    pub(crate) fn begin(folder: &Path, first: u64, schema: SchemaRef) -> Result<Self, ExportError> {
        durable::make_dir(folder)?;
        let path = folder.join(Name::unfinished(first));
        let file = std::fs::File::create(&path).map_err(ExportError::disk("making", &path))?;
        // Snappy is what every reader has, and is Rust alone.
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("lonja ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(failed(&path))?;
        Ok(Self { path, writer, records: 0 })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        self.records += batch.num_rows() as u64;
        self.writer.write(batch).map_err(failed(&self.path))
    }

    /// Makes it durable and gives it its name, which the folder's sync makes durable.
    pub(crate) fn finish(self, first: u64, last: u64) -> Result<Finished, ExportError> {
        let Self { path: temporary, writer, records } = self;
        let file = writer.into_inner().map_err(failed(&temporary))?;
        let length =
            file.sync_all().and_then(|()| file.metadata()).map_err(ExportError::disk("syncing", &temporary))?;
        let path = temporary.with_file_name(Name::finished(first, last));
        durable::rename(&temporary, &path)?;
        Ok(Finished { path, records, bytes: length.len() })
    }
}

fn failed(file: &Path) -> impl FnOnce(ParquetError) -> ExportError {
    let file = file.to_owned();
    move |source| ExportError::Parquet { file, source }
}
