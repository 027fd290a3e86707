//! How far each partition is exported.

use std::fs;

use eventlog::{Checkpoint, Partition};
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::{ExportError, durable};

/// How directories are laid out. A build that lays them out otherwise increases it, and does not go on with old ones.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    checkpoint: Checkpoint,
}

/// The checkpoint of `partition`, if anything of it is exported.
pub(crate) fn read(layout: &Layout, partition: Partition) -> Result<Option<Checkpoint>, ExportError> {
    let file = layout.checkpoint(partition);
    let text = match fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(ExportError::disk("reading", &file))?,
    };
    match serde_json::from_slice::<Kept>(&text) {
        Ok(Kept { format: FORMAT, checkpoint }) => Ok(Some(checkpoint)),
        Ok(Kept { format, .. }) => {
            let detail = format!("its format is {format}, and this build's is {FORMAT}");
            Err(ExportError::Checkpoint { file, detail })
        }
        Err(error) => Err(ExportError::Checkpoint { file, detail: error.to_string() }),
    }
}

/// Keeps the checkpoint of `partition`. What stands before it must be durable.
pub(crate) fn write(layout: &Layout, partition: Partition, checkpoint: Checkpoint) -> Result<(), ExportError> {
    let file = layout.checkpoint(partition);
    if let Some(folder) = file.parent() {
        durable::make_dir(folder)?;
    }
    let text = serde_json::to_vec(&Kept { format: FORMAT, checkpoint });
    let text = text.map_err(|error| ExportError::Checkpoint { file: file.clone(), detail: error.to_string() })?;
    durable::replace(&file, &text)
}
