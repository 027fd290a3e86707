//! Changes of a directory that outlive a power cut: a name is durable when its directory is synced.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::ExportError;

/// Makes `dir` and what is missing above it.
pub(crate) fn make_dir(dir: &Path) -> Result<(), ExportError> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make_dir(above)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(ExportError::disk("making", dir)(error)),
        _ => sync_dir(above.unwrap_or(Path::new("."))),
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), ExportError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(ExportError::disk("syncing", dir))
}

/// Gives a file that is synced its name. The directory is still to be synced.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), ExportError> {
    fs::rename(from, to).map_err(ExportError::disk("renaming", from))
}

/// Puts `bytes` in the place of what `file` held, whole or not at all.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let temporary = file.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(ExportError::disk("writing", &temporary))?;
    rename(&temporary, file)?;
    sync_dir(file.parent().unwrap_or(Path::new(".")))
}
