//! An export that was ended, at whatever point, and goes on.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use eventlog::EventLog;
use lonja_export::{Export, Limits, Step};
use schemas::Codec;

use crate::script::{Owner, append, history, open, partition};
use crate::{check, export, export_to, rows};

/// What ends a run, as a kill does: nothing that was begun is finished.
struct Killed;

/// Runs until `steps` have happened; whether that was before the end.
fn killed_after(steps: usize, log: &dyn EventLog, to: &Path) -> bool {
    let mut left = steps;
    let mut watch = |_: &Step| match left {
        0 => resume_unwind(Box::new(Killed)),
        _ => left -= 1,
    };
    let run = AssertUnwindSafe(|| export_to(to).run(log, &Codec::local(), &mut watch).unwrap());
    catch_unwind(run).is_err_and(|cause| cause.is::<Killed>())
}

#[test]
fn whenever_it_is_killed_the_next_run_has_each_record_once() {
    let data = tempfile::tempdir().unwrap();
    let (log, codec) = (open(data.path()), Codec::local());
    for number in [0, 7] {
        append(&log, partition(number), &history(&codec));
    }
    let mut kills = 0;
    loop {
        let to = tempfile::tempdir().unwrap();
        let killed = killed_after(kills, &log, to.path());
        let summary = of_another_size(to.path()).run(&log, &codec, &mut |_| {}).unwrap();
        assert!(killed || summary.read == 0, "after {kills} steps");
        check(&log, &codec, to.path());
        assert_eq!(unfinished(to.path()), Vec::<PathBuf>::new());
        if !killed {
            break;
        }
        kills += 1;
    }
    assert!(kills > 20, "only {kills} steps were seen");
}

/// The next run may have other files, where the log has grown or the limits are others: none has the name of one that is
/// left over.
fn of_another_size(to: &Path) -> Export {
    Export { limits: Limits { records: 7, bytes: u64::MAX }, ..export_to(to) }
}

/// Killed again and again, each run a step further than the last.
#[test]
fn a_run_that_is_always_killed_comes_to_its_end() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, codec) = (open(data.path()), Codec::local());
    append(&log, partition(4), &history(&codec));
    let mut steps = 0;
    while killed_after(steps, &log, to.path()) {
        steps += 1;
    }
    check(&log, &codec, to.path());
}

/// Whatever is in the folders and has not the name of a finished file.
fn unfinished(to: &Path) -> Vec<PathBuf> {
    let folders: std::collections::BTreeSet<_> =
        rows::files(to).iter().map(|file| file.parent().unwrap().to_owned()).collect();
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_none_or(|end| end != "parquet")).collect()
}

/// The files of an earlier, longer or shorter segment, which no checkpoint vouches for.
#[test]
fn what_no_checkpoint_vouches_for_is_removed() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, codec) = (open(data.path()), Codec::local());
    append(&log, partition(2), &history(&codec));
    export(&log, to.path()).unwrap();
    let next = history(&codec).len() as u64;
    let folder = to.path().join("order.events/OrderPlaced/partition=02");
    let good = rows::files(to.path()).into_iter().find(|file| file.starts_with(&folder)).unwrap();
    let plant = |name: &str| {
        fs::copy(&good, folder.join(name)).unwrap();
        folder.join(name)
    };
    let left = [
        plant(&format!("{next:020}-{:020}.parquet", next + 900)),
        plant(&format!("{:020}-{:020}.parquet", next + 901, next + 902)),
        plant(&format!("_{next:020}.tmp")),
    ];
    let foreign = [plant("notes.txt"), plant("_SUCCESS")];
    let summary = export(&log, to.path()).unwrap();
    assert_eq!((summary.read, summary.files), (0, 0));
    assert!(left.iter().all(|file| !file.exists()) && foreign.iter().all(|file| file.exists()));
    check(&log, &codec, to.path());
}

/// Files that are finished are never touched again, so a copy of the directory needs the new ones alone.
#[test]
fn an_export_goes_on_and_leaves_what_is_there() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let codec = Codec::local();
    let mut before = BTreeMap::new();
    for round in 1..5 {
        let log = open(data.path());
        let mut owner = Owner::new(&codec, round);
        let claim = owner.claim();
        append(&log, partition(1), &[vec![claim], owner.decisions(9)].concat());
        assert_eq!(export(&log, to.path()).unwrap().exported, 9);
        check(&log, &codec, to.path());
        let files = rows::files(to.path()).into_iter();
        let files: BTreeMap<_, _> = files.map(|file| (file.clone(), fs::read(&file).unwrap())).collect();
        assert!(files.len() > before.len() && before.iter().all(|(file, bytes)| files.get(file) == Some(bytes)));
        before = files;
        assert_eq!(export(&log, to.path()).unwrap().read, 0);
    }
}

#[test]
fn files_are_finished_by_records_and_by_bytes() {
    let data = tempfile::tempdir().unwrap();
    let (log, codec) = (open(data.path()), Codec::local());
    let mut owner = Owner::new(&codec, 1);
    let claim = owner.claim();
    append(&log, partition(0), &[vec![claim], owner.decisions(40)].concat());
    let of = |limits| {
        let to = tempfile::tempdir().unwrap();
        let mut export = export_to(to.path());
        export.limits = limits;
        let mut kept = Vec::new();
        let watch = &mut |step: &Step| {
            if let Step::Kept(files) = step {
                kept.extend(files.iter().map(|file| (file.first, file.last)).next());
            }
        };
        export.run(&log, &codec, watch).unwrap();
        check(&log, &codec, to.path());
        kept
    };
    assert_eq!(of(Limits::default()), [(0, 40)]);
    assert_eq!(of(Limits { records: 20, bytes: u64::MAX }), [(0, 20), (21, 40)]);
    assert!(of(Limits { records: 10, bytes: 1 }).len() > 3);
}
