//! What is not exported, and what is said then.

use std::error::Error;
use std::fs;
use std::path::Path;

use lonja_export::{ExportError, Step};
use schemas::Codec;

use crate::script::{Owner, append, foreign, history, open, partition};
use crate::{check, export, export_to, rows};

/// With its causes.
fn in_full(error: &ExportError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Names and contents of everything in `dir`.
fn contents(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let checkpoints = fs::read_dir(dir.join("order.events/_checkpoints")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        checkpoints.chain(rows::files(dir)).map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    all.sort();
    all
}

#[test]
fn another_log_is_refused_and_nothing_is_changed() {
    let (data, other, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let codec = Codec::local();
    let (log, another) = (open(data.path()), open(other.path()));
    append(&log, partition(6), &history(&codec));
    for number in 0..12 {
        append(&another, partition(number), &history(&codec));
    }
    export(&log, to.path()).unwrap();
    let before = contents(to.path());
    let refused = export(&another, to.path()).unwrap_err();
    assert!(matches!(refused, ExportError::Diverged { .. }), "{refused:?}");
    let said = in_full(&refused);
    assert!(said.contains("order.events/6 is not the log") && said.contains("into an empty directory"), "{said}");
    assert_eq!(contents(to.path()), before);
    assert_eq!(export(&log, to.path()).unwrap().read, 0);
}

/// The same log, of which one copy lost its tail and has grown again.
#[test]
fn a_log_with_another_past_is_refused() {
    let (data, copy, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let codec = Codec::local();
    let mut owner = Owner::new(&codec, 1);
    append(&open(data.path()), partition(6), &[vec![owner.claim()], owner.decisions(7)].concat());
    copy_dir(data.path(), copy.path());
    let short = open(copy.path());
    {
        let log = open(data.path());
        append(&log, partition(6), &owner.decisions(2));
        export(&log, to.path()).unwrap();
    }
    let refused = in_full(&export(&short, to.path()).unwrap_err());
    assert!(refused.contains("order.events/6 is not the log that was folded up to 10: it ends at 8"), "{refused}");
    append(&short, partition(6), &[foreign(), foreign(), foreign()]);
    let refused = in_full(&export(&short, to.path()).unwrap_err());
    assert!(refused.contains("the record at 9 is another one"), "{refused}");
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_directory_is_exported_into_by_one_process_at_a_time() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, codec) = (open(data.path()), Codec::local());
    append(&log, partition(0), &history(&codec));
    let mut refused = 0;
    let second = &mut |_: &Step| {
        let busy = export(&log, to.path()).unwrap_err();
        assert!(matches!(&busy, ExportError::Busy(dir) if dir == to.path()), "{busy:?}");
        assert!(busy.to_string().contains("another process exports into"), "{busy}");
        refused += 1;
    };
    export_to(to.path()).run(&log, &codec, second).unwrap();
    assert!(refused > 3);
    check(&log, &codec, to.path());
    assert_eq!(export(&log, to.path()).unwrap().read, 0, "whoever is done lets go of it");
}

/// Somebody put an old checkpoint back, or files of another export.
#[test]
fn files_that_contradict_the_checkpoint_are_refused() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, codec) = (open(data.path()), Codec::local());
    append(&log, partition(0), &history(&codec));
    export(&log, to.path()).unwrap();
    let next = history(&codec).len() as u64;
    let file = rows::files(to.path()).remove(0);
    let planted = file.with_file_name(format!("{:020}-{next:020}.parquet", next - 1));
    fs::copy(&file, &planted).unwrap();
    let refused = export(&log, to.path()).unwrap_err();
    assert!(matches!(&refused, ExportError::Contradicted { file, .. } if *file == planted), "{refused:?}");
    assert!(refused.to_string().contains("into an empty one"), "{refused}");
}

#[test]
fn a_checkpoint_of_another_format_is_refused() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, codec) = (open(data.path()), Codec::local());
    append(&log, partition(0), &history(&codec));
    export(&log, to.path()).unwrap();
    let file = to.path().join("order.events/_checkpoints/00.json");
    let text = fs::read_to_string(&file).unwrap();
    for (odd, said) in [(text.replace("\"format\":1", "\"format\":2"), "its format is 2"), ("{".to_owned(), "EOF")] {
        fs::write(&file, odd).unwrap();
        let refused = export(&log, to.path()).unwrap_err();
        assert!(matches!(refused, ExportError::Checkpoint { .. }) && refused.to_string().contains(said), "{refused}");
    }
    fs::write(&file, text).unwrap();
    assert_eq!(export(&log, to.path()).unwrap().read, 0);
}

#[test]
fn a_partition_that_is_not_there_is_named() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut export = export_to(to.path());
    export.partition = Some(12);
    let refused = export.run(&open(data.path()), &Codec::local(), &mut |_| {}).unwrap_err();
    assert_eq!(refused.to_string(), "order.events has no partition 12: they are 0 to 11");
}
