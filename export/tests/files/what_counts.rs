//! Which records are exported.

use schemas::Codec;
use schemas::topics::{COMMAND_UNCHANGED, ORDER, ORDER_PLACED};
use serde_json::json;

use crate::script::{Owner, append, history, open, partition};
use crate::{check, export, rows};

#[test]
fn every_record_that_counts_is_a_row_and_no_other() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, codec) = (open(data.path()), Codec::local());
    for number in [0, 3, 11] {
        append(&log, partition(number), &history(&codec));
    }
    let summary = export(&log, to.path()).unwrap();
    check(&log, &codec, to.path());
    let rows = rows::all(to.path());
    assert_eq!(
        rows.keys().collect::<Vec<_>>(),
        ["CommandRefused", "CommandUnchanged", "OrderCancelled", "OrderPlaced"]
    );
    // Of 27 records two claims, one more that is stale, and eight that are void for other reasons.
    let each = history(&codec).len() as u64;
    assert_eq!((summary.partitions, summary.read, summary.exported), (12, 3 * each, 3 * 16));
    assert_eq!((summary.void, summary.unreadable), (3 * (each - 16 - 2), 0));
    assert_eq!(rows.values().map(Vec::len).sum::<usize>(), 3 * 16);
    let files = rows::files(to.path());
    assert_eq!(files.len() as u64, summary.files);
    let sizes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(sizes, summary.bytes);
    let first = "order.events/OrderPlaced/partition=03/00000000000000000000-";
    assert!(files.iter().any(|file| file.to_str().unwrap().contains(first)), "{files:?}");
}

/// A partition alone is a part of the whole.
#[test]
fn one_partition_can_be_exported_alone() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, codec) = (open(data.path()), Codec::local());
    for number in 0..3 {
        append(&log, partition(number), &history(&codec));
    }
    let mut alone = crate::export_to(to.path());
    alone.partition = Some(1);
    let summary = alone.run(&log, &codec, &mut |_| {}).unwrap();
    assert_eq!((summary.partitions, summary.exported), (1, 16));
    assert!(rows::files(to.path()).iter().all(|file| file.to_str().unwrap().contains("/partition=01/")));
    assert_eq!(export(&log, to.path()).unwrap().exported, 32);
    check(&log, &codec, to.path());
}

/// They count, and views park them: nothing is lost, and those around them are read.
#[test]
fn what_cannot_be_read_is_kept_with_its_bytes_and_a_reason() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, codec) = (open(data.path()), Codec::local());
    let mut owner = Owner::new(&codec, 1);
    let good = owner.placed("x").payload;
    let unchanged = codec.encode_json(COMMAND_UNCHANGED.name, &ORDER, &json!({"command": "Cancel"})).unwrap();
    let not_text = [&unchanged[..6], b"\xff\xfe", &unchanged[8..]].concat();
    let odd = [
        ("lonja.order.OrderPlaced", &b"order"[..], b"no frame".to_vec()),
        ("lonja.order.OrderPlaced", b"order", b"\0\0\0\0\x07\x02".to_vec()),
        ("lonja.order.OrderPlaced", b"order", good[..good.len() - 12].to_vec()),
        ("lonja.order.OrderPlaced", b"order", unchanged.to_vec()),
        ("lonja.order.OrderLost", b"order", good.to_vec()),
        ("lonja.log.CommandUnchanged", b"order", not_text),
        ("lonja.order.OrderPlaced", b"\xff\0", good.to_vec()),
        ("lonja.order.OrderPlaced", b"order", Vec::new()),
    ];
    let mut owner = Owner::new(&codec, 1);
    let mut records = vec![owner.claim()];
    for (name, key, payload) in odd.clone() {
        records.extend(owner.decisions(3));
        records.push(owner.decide(key, name, payload));
    }
    records.extend(owner.decisions(3));
    append(&log, partition(5), &records);
    let mut whole = crate::export_to(to.path());
    whole.limits = lonja_export::Limits::default();
    let summary = whole.run(&log, &codec, &mut |_| {}).unwrap();
    assert_eq!((summary.exported, summary.unreadable), (3 * 9 + 8, 8));
    check(&log, &codec, to.path());
    assert_eq!(rows::all(to.path())["_unreadable"].len(), odd.len());
    let reasons = reasons(to.path());
    for (reason, expected) in reasons.iter().zip([
        "not framed Avro",
        "schema 7 cannot be had",
        "Avro error",
        "is of lonja.log.CommandUnchanged",
        "does not know the type",
        "Avro error",
        "the key is not text",
        "not framed Avro",
    ]) {
        assert!(reason.contains(expected), "{reason} is not {expected}");
    }
}

fn reasons(to: &std::path::Path) -> Vec<String> {
    let files = rows::files(to).into_iter().filter(|file| file.to_str().unwrap().contains("/_unreadable/"));
    let rows = files.flat_map(|file| parquet::file::reader::SerializedFileReader::try_from(file.as_path()).unwrap());
    let reason = |row: parquet::record::Row| {
        let columns = row.into_columns();
        columns.into_iter().find(|(name, _)| name == "reason").unwrap().1.to_string()
    };
    rows.map(|row| reason(row.unwrap())).collect()
}

/// Who decodes events does not look there, so the export does not either.
#[test]
fn what_stands_behind_an_event_does_not_matter() {
    let (data, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, codec) = (open(data.path()), Codec::local());
    let mut owner = Owner::new(&codec, 1);
    let (claim, placed) = (owner.claim(), owner.placed("ann"));
    let longer = owner.decide(b"o-2", ORDER_PLACED.name, [&placed.payload[..], b"more"].concat());
    append(&log, partition(0), &[claim, placed, longer]);
    let summary = export(&log, to.path()).unwrap();
    assert_eq!((summary.exported, summary.unreadable), (2, 0));
    check(&log, &codec, to.path());
}
