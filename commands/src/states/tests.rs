use bytes::Bytes;
use domain::stock::StockItem;
use eventlog::{Record, Terms};
use schemas::topics::STOCK;
use schemas::{Contract, Envelope, Term};

use super::*;
use crate::working_set::{Held, WorkingSet};

const PARTITION: Partition = Partition { topic: &STOCK, number: 3 };

/// A decision that changed nothing.
fn unchanged(id: u128, timestamp: i64) -> Admitted {
    let envelope = Envelope {
        id: Uuid::from_u128(id),
        record_type: COMMAND_UNCHANGED.name.into(),
        subject: "stock/A".into(),
        time: Timestamp(timestamp),
        term: Term { number: 1, nonce: 1 },
        sequence: 1,
        version: 0,
        fingerprint: id,
        causation_id: Uuid::nil(),
        correlation_id: Uuid::nil(),
        traceparent: None,
    };
    let record = Record { key: Bytes::from_static(b"A"), headers: Arc::default(), payload: Bytes::new() };
    Admitted {
        partition: PARTITION,
        offset: 0,
        timestamp: Timestamp(timestamp),
        envelope: envelope.into(),
        record,
        event: None,
    }
}

fn kept(store: &Store, ids: std::ops::Range<u128>) -> Vec<u128> {
    ids.filter(|id| store.outcome(Uuid::from_u128(*id)).unwrap().is_some()).collect()
}

#[test]
fn every_outcome_of_a_fold_ends_with_its_horizon_and_none_before() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 0).unwrap();
    let states = store.lease::<StockItem>(PARTITION).unwrap();
    let checkpoint = Checkpoint { next: 1, terms: Terms::default(), topic_id: Uuid::nil(), last_record: 0 };
    let fold = |records: &[Admitted]| {
        states.fold(&Codec::local(), records, Folded::read(checkpoint)).unwrap();
    };
    let horizon = i64::try_from(OUTCOME_HORIZON.as_millis()).unwrap();
    fold(&[unchanged(1, 1_000), unchanged(2, 1_001), unchanged(3, 1_002)]);
    fold(&[unchanged(4, 1_003)]);
    fold(&[unchanged(5, 1_002 + horizon)]);
    assert_eq!(kept(&store, 1..6), [1, 2, 3, 4, 5], "the last of the first fold is not older than the horizon");
    fold(&[unchanged(6, 1_003 + horizon)]);
    assert_eq!(kept(&store, 1..7), [4, 5, 6]);
    fold(&[unchanged(7, 1_004 + horizon)]);
    assert_eq!(kept(&store, 1..8), [5, 6, 7]);
}

#[test]
fn nobody_waits_for_a_fold_that_is_being_written() {
    let store = Store::of(Tables::in_memory(), Writer::start().unwrap(), 1_000);
    let mut memory = WorkingSet::new(store.lease::<StockItem>(PARTITION).unwrap());
    let key = Bytes::from_static(b"A");
    memory.put(key.clone(), Held { slot: Slot { version: 7, ..Slot::default() }, last: 1, stored: 0 });
    memory.confirm(unchanged(1, 1_000));
    let terms = Terms { sequence: 1, ..Terms::default() };
    let checkpoint = |next| Checkpoint { next, terms, topic_id: Uuid::nil(), last_record: 0 };
    // The writer is busy with something else.
    let other = Arc::new(Tables::in_memory());
    let slow = other.hold();
    let before = store.writer.write(&other, Batch::default());
    memory.begin_fold(&Codec::local(), Folded::read(checkpoint(1))).unwrap();
    memory.confirm(unchanged(2, 1_001));
    memory.end_fold().unwrap();
    assert!(memory.is_folding() && !memory.may_fold() && memory.waiting() == 1);
    assert!([1, 2].iter().all(|id| memory.recent(Uuid::from_u128(*id)).is_some()), "neither is forgotten");
    let held = memory.take(&key).unwrap();
    assert_eq!((held.slot.version, held.last), (7, 1), "the state of memory, not the one of the store");
    memory.put(key.clone(), held);
    drop(slow);
    memory.await_fold().unwrap();
    before.wait().unwrap();
    assert_eq!(kept(&store, 1..3), [1]);
    assert!(memory.recent(Uuid::from_u128(1)).is_none() && memory.recent(Uuid::from_u128(2)).is_some());
    assert_eq!(memory.take(&key).unwrap().last, 0, "the store has all of it");
    memory.begin_fold(&Codec::local(), Folded::read(checkpoint(2))).unwrap();
    drop(memory);
    assert_eq!(kept(&store, 1..3), [1, 2], "whoever folds it next finds what was on its way");
    let states = store.lease::<StockItem>(PARTITION).unwrap();
    assert_eq!(states.folded().unwrap().map(|folded| folded.checkpoint), Some(checkpoint(2)));
}

#[test]
fn how_far_another_build_had_folded_is_not_known() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), 0).unwrap();
    let states = store.lease::<StockItem>(PARTITION).unwrap();
    let checkpoint = Checkpoint { next: 1, terms: Terms::default(), topic_id: Uuid::nil(), last_record: 0 };
    let written = |value: Vec<u8>| {
        let mut batch = Batch::default();
        batch.insert(Table::Checkpoints, PARTITION.to_string(), value);
        store.tables.commit(batch).unwrap();
        states.folded().unwrap().map(|folded| folded.checkpoint)
    };
    let now = StockItem::STATE_VERSION;
    assert_eq!(written(postcard::to_stdvec(&(now, Folded::read(checkpoint))).unwrap()), Some(checkpoint));
    assert_eq!(written(postcard::to_stdvec(&(now + 1, Folded::read(checkpoint))).unwrap()), None);
    assert_eq!(written(postcard::to_stdvec(&(now, checkpoint)).unwrap()), None, "without what it stands on");
}
