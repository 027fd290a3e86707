//! Folding through [`Tail`]: the same on every log.

use std::time::{Duration, Instant};

use lonja_eventlog::{Admitted, EventLog, Tail, TailError};

use crate::homes::Home;
use crate::records::{PATIENCE, append, claim, decision, foreign, partition, records, term};

/// Polls until everything up to `end` has been judged.
fn fold(tail: &mut Tail, end: u64) -> Vec<Admitted> {
    let deadline = Instant::now() + PATIENCE;
    let mut admitted = Vec::new();
    while tail.next(partition(0)) < end {
        assert!(Instant::now() < deadline, "the fold stands at {}", tail.next(partition(0)));
        admitted.extend(tail.poll(7, Duration::from_millis(200)).unwrap());
    }
    admitted
}

/// Offset, term and number of each record that counts.
fn marks(admitted: &[Admitted]) -> Vec<(u64, u64, u64)> {
    admitted.iter().map(|a| (a.offset, a.envelope.term.number, a.envelope.sequence)).collect()
}

fn tail(log: &dyn EventLog, checkpoint: Option<lonja_eventlog::Checkpoint>) -> Result<Tail, TailError> {
    Tail::open(log, &[(partition(0), checkpoint)])
}

pub fn what_does_not_count_is_left_out(home: &impl Home) {
    let log = home.open();
    let (old, new) = (term(1), term(2));
    append(
        &*log,
        partition(0),
        &[
            decision(old, 1), // 0: before any claim
            claim(old),
            decision(old, 1), // 2
            decision(old, 1), // 3: a duplicate
            decision(old, 2), // 4
            foreign(),
            claim(new),
            decision(old, 3), // 7: a zombie's
            decision(new, 1), // 8
            decision(new, 3), // 9: after a hole
            claim(old),       // 10: a late copy
            decision(new, 2), // 11
            decision(old, 3), // 12
            decision(new, 3), // 13
        ],
    );
    let mut tail = tail(&*log, None).unwrap();
    let admitted = fold(&mut tail, 14);
    assert_eq!(marks(&admitted), [(2, 1, 1), (4, 1, 2), (8, 2, 1), (11, 2, 2), (13, 2, 3)]);
    assert_eq!(admitted[0].record.payload, decision(old, 1).payload);
    assert_eq!(tail.voids(), 7);
    assert_eq!((tail.terms(partition(0)).current, tail.terms(partition(0)).sequence), (Some(new), 3));
}

pub fn a_fold_goes_on_where_its_checkpoint_stands(home: &impl Home) {
    let log = home.open();
    append(&*log, partition(0), &records(10));
    let mut tail_before = tail(&*log, None).unwrap();
    fold(&mut tail_before, 10);
    let checkpoint = tail_before.checkpoint(partition(0)).unwrap();
    assert_eq!(checkpoint.next, 10);
    checkpoint.verify(&*log, partition(0)).unwrap();
    drop((tail_before, log));
    let log = home.open();
    append(&*log, partition(0), &[decision(term(1), 10), decision(term(1), 12), decision(term(1), 11)]);
    let mut tail_after = tail(&*log, Some(checkpoint)).unwrap();
    assert_eq!(marks(&fold(&mut tail_after, 13)), [(10, 1, 10), (12, 1, 11)]);
    let from_start = {
        let mut tail = tail(&*log, None).unwrap();
        fold(&mut tail, 13);
        tail.checkpoint(partition(0))
    };
    assert_eq!(tail_after.checkpoint(partition(0)), from_start);
}

pub fn another_log_is_noticed(home: &impl Home) {
    let log = home.open();
    append(&*log, partition(0), &records(10));
    let mut before = tail(&*log, None).unwrap();
    fold(&mut before, 10);
    let checkpoint = before.checkpoint(partition(0));
    drop((before, log));
    home.replace();
    let log = home.open();
    // It has grown past the checkpoint: only what it holds gives it away.
    append(&*log, partition(0), &records(20));
    let noticed = tail(&*log, checkpoint).and_then(|mut tail| tail.poll(10, PATIENCE).map(|_| ()));
    assert!(matches!(noticed, Err(TailError::Diverged { next: 10, .. })), "{noticed:?}");
    let verified = checkpoint.unwrap().verify(&*log, partition(0));
    assert!(matches!(verified, Err(TailError::Diverged { next: 10, .. })), "{verified:?}");
}

pub fn a_log_that_lost_its_tail_is_noticed(home: &impl Home) {
    let log = home.open();
    append(&*log, partition(0), &records(10));
    let mut before = tail(&*log, None).unwrap();
    fold(&mut before, 10);
    let mut checkpoint = before.checkpoint(partition(0)).unwrap();
    checkpoint.next = 11;
    let noticed = tail(&*log, Some(checkpoint)).map(|_| ());
    assert!(matches!(noticed, Err(TailError::Diverged { next: 11, .. })), "{noticed:?}");
    let verified = checkpoint.verify(&*log, partition(0));
    assert!(matches!(verified, Err(TailError::Diverged { next: 11, .. })), "{verified:?}");
    // Regrown: as long as it was, with another record at the end.
    append(&*log, partition(0), &[decision(term(1), 11)]);
    let mut tail = tail(&*log, Some(checkpoint)).unwrap();
    let noticed = tail.poll(10, PATIENCE);
    assert!(matches!(noticed, Err(TailError::Diverged { next: 11, .. })), "{noticed:?}");
    let verified = checkpoint.verify(&*log, partition(0));
    assert!(matches!(verified, Err(TailError::Diverged { next: 11, .. })), "{verified:?}");
}
