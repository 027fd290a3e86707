//! What operators decided of records of a view: for each of its generations, and in a file, because rows in memory are built anew
//! at each start and must come out the same.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::parking::{OddRow, Place, Resolution, ResolutionRow, place};

#[derive(Default)]
pub(super) struct Resolutions {
    /// Nothing until the file was read.
    known: Option<BTreeMap<Place, Resolution>>,
    /// Without one they last as long as the process.
    file: Option<PathBuf>,
}

/// The file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("{0}")]
    File(PathBuf, #[source] io::Error),
    #[error("{0} does not hold what was written")]
    Content(PathBuf, #[source] serde_json::Error),
    #[error("{0} does not hold what was written")]
    Row(PathBuf, #[source] OddRow),
}

#[derive(Deserialize)]
struct Line {
    topic: String,
    partition_number: i32,
    record_offset: i64,
    content: String,
}

impl Resolutions {
    pub fn kept_in(file: PathBuf) -> Self {
        Self { known: None, file: Some(file) }
    }

    pub fn all(&mut self) -> Result<&BTreeMap<Place, Resolution>, FileError> {
        let known = match self.known.take() {
            Some(known) => known,
            None => self.file.as_deref().map(read).transpose()?.unwrap_or_default(),
        };
        Ok(self.known.insert(known))
    }

    /// Returns when the disk has them.
    pub fn add(&mut self, more: Vec<Resolution>) -> Result<(), FileError> {
        let mut all = self.all()?.clone();
        all.extend(more.into_iter().map(|resolution| (resolution.place, resolution)));
        if let Some(file) = &self.file {
            write(file, &all).map_err(|error| FileError::File(file.clone(), error))?;
        }
        self.known = Some(all);
        Ok(())
    }
}

fn read(file: &Path) -> Result<BTreeMap<Place, Resolution>, FileError> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(FileError::File(file.to_owned(), error)),
    };
    let lines: Vec<Line> = serde_json::from_slice(&text).map_err(|error| FileError::Content(file.to_owned(), error))?;
    let resolution = |line: Line| {
        let place = place(&line.topic, line.partition_number, line.record_offset)?;
        Ok((place, ResolutionRow::read(place, &line.content)?))
    };
    lines.into_iter().map(resolution).collect::<Result<_, _>>().map_err(|odd| FileError::Row(file.to_owned(), odd))
}

/// The former content or the new one is there, whenever it is killed.
fn write(file: &Path, all: &BTreeMap<Place, Resolution>) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let rows: Vec<ResolutionRow> = all.values().map(ResolutionRow::from).collect();
    let new = file.with_extension("new");
    let mut out = File::create(&new)?;
    out.write_all(&serde_json::to_vec(&rows)?)?;
    out.sync_all()?;
    fs::rename(&new, file)?;
    File::open(directory)?.sync_all()
}
