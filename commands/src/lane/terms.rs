//! How terms of a lane's owners begin and end: restoring, claiming, running, stepping down.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use eventlog::{Partition, Record};
use schemas::topics::TERM_STARTED;
use schemas::wire::log::encode_claim;
use schemas::{Envelope, Term};
use tokio::time::Instant;

use super::{Event, Lane, Place};
use crate::Aggregate;
use crate::metrics::{STEP_DOWNS, TERMS_STARTED};
use crate::owner::{Context, Owner, SteppedDown};
use crate::restore::{Job, Progress, Restore};

/// Longest back-off before a partition is claimed again, doubled from [`BACK_OFF_MIN`] with each failure.
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// Shortest back-off.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
/// A term that lasted so long was no failure.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// A term's tokens: the term's number on this lane above, the sequence number below these bits.
const SEQUENCE_BITS: u32 = 40;

impl<A: Aggregate> Lane<A> {
    /// What the restore of another number says comes late: the partition was revoked, or given up, and is restored anew.
    pub(super) fn restored(&mut self, restore: u64, progress: Progress<A>) {
        let (Progress::Caught { partition, .. } | Progress::Void { partition } | Progress::Started { partition, .. }) =
            progress;
        let claim = match self.places.get(&partition) {
            Some(Place::Restoring { restore: latest, claim, .. }) if *latest == restore => *claim,
            _ => return,
        };
        match (progress, claim) {
            (Progress::Caught { number, .. }, _) => self.claim(partition, number),
            (Progress::Started { started, .. }, Some((term, token))) if term == started.term => {
                tracing::debug!(%partition, %term, next = started.checkpoint.next, "owner started");
                ::metrics::counter!(TERMS_STARTED, "topic" => A::TOPIC.name).increment(1);
                self.context.peers.announce(partition, term);
                self.context.ledger.settled(&[partition]);
                let owner = Box::new(Owner::new(&self.context, partition, started, token));
                self.places.insert(partition, Place::Running { owner, since: Instant::now() });
            }
            // Or it tried again after an error, and went on to its former claim.
            (Progress::Void { .. } | Progress::Started { .. }, _) => self.step_down(partition, &SteppedDown::Deposed),
        }
    }

    fn claim(&mut self, partition: Partition, number: u64) {
        let Some(Place::Restoring { claim, .. }) = self.places.get_mut(&partition) else { return };
        self.terms_begun += 1;
        let token = self.terms_begun << SEQUENCE_BITS;
        let appended = claim_record::<A>(&self.context, partition, number, &self.node).and_then(|(term, record)| {
            *claim = Some((term, token));
            self.appender
                .append(partition, &record, token)
                .map_err(|error| SteppedDown::Append { detail: error.detail, fatal: error.fatal })
        });
        if let Err(reason) = appended {
            self.step_down(partition, &reason);
        }
    }

    /// Begins to own partitions: after `delay`, on a thread of its own.
    pub(super) fn restore(&mut self, partitions: Vec<Partition>, delay: Duration) {
        let (claimed, receiver) = crossbeam_channel::unbounded();
        let mut jobs = Vec::new();
        self.restores_begun += 1;
        let restore = self.restores_begun;
        for partition in partitions {
            if matches!(self.places.get(&partition), Some(Place::Running { .. })) {
                continue;
            }
            self.revoke(partition);
            let cancelled = Arc::new(AtomicBool::new(false));
            jobs.push(Job { partition, cancelled: Arc::clone(&cancelled) });
            self.places
                .insert(partition, Place::Restoring { restore, cancelled, claimed: claimed.clone(), claim: None });
        }
        let (context, store, sender) = (Arc::clone(&self.context), Arc::clone(&self.store), self.sender.clone());
        let tell = move |progress| {
            if sender.send(Event::Restored(restore, progress)).is_err() {
                tracing::debug!("the lane has ended");
            }
        };
        let outside = Arc::clone(&context.outside);
        let work = Restore::<A>::new(context, store, jobs, delay, receiver, Box::new(tell));
        if let Err(error) = outside.run("restore".into(), Box::new(work)) {
            tracing::error!(%error, "no thread for restoring");
        }
    }

    pub(super) fn revoke(&mut self, partition: Partition) {
        match self.places.remove(&partition) {
            Some(Place::Restoring { cancelled, .. }) => cancelled.store(true, Ordering::Relaxed),
            Some(Place::Running { mut owner, .. }) => {
                if let Err(error) = owner.fold(&self.context) {
                    tracing::warn!(%partition, error = &error as &dyn std::error::Error, "not folded; restoring will");
                }
            }
            None => {}
        }
    }

    /// Ends the term of a partition: its later reports are ignored, nothing is sent again, callers ask again. Then a new
    /// claim, with back-off. A fatal error of the producer ends all terms of the lane.
    pub(super) fn step_down(&mut self, partition: Partition, reason: &SteppedDown) {
        tracing::warn!(%partition, reason = reason as &dyn std::error::Error, "stepped down");
        ::metrics::counter!(STEP_DOWNS, "topic" => A::TOPIC.name).increment(1);
        let fatal = matches!(reason, SteppedDown::Append { fatal: true, .. });
        let ended: Vec<Partition> = if fatal {
            match self.context.log.appender(self.reporting.sink()) {
                Ok(fresh) => self.appender = std::mem::replace(&mut self.spare, fresh),
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "no new producer"),
            }
            self.places.keys().copied().collect()
        } else {
            vec![partition]
        };
        let mut failures = 0;
        for partition in &ended {
            let settled = match self.places.remove(partition) {
                Some(Place::Running { since, .. }) => since.elapsed() > SETTLED_AFTER,
                Some(Place::Restoring { cancelled, .. }) => {
                    cancelled.store(true, Ordering::Relaxed);
                    false
                }
                None => continue,
            };
            let count = self.failures.entry(*partition).or_default();
            *count = if settled { 1 } else { *count + 1 };
            failures = failures.max(*count);
        }
        self.restore(ended, back_off(failures, self.context.outside.random().unwrap_or(0)));
        self.count();
    }
}

fn claim_record<A: Aggregate>(
    context: &Context,
    partition: Partition,
    number: u64,
    node: &str,
) -> Result<(Term, Record), SteppedDown> {
    let refused = |detail: String| SteppedDown::Append { detail, fatal: false };
    let random = || context.outside.random().map_err(|error| refused(format!("no random numbers: {error}")));
    let term = Term { number, nonce: random()? };
    let payload = encode_claim(&context.codec, A::TOPIC, term, node).map_err(|error| refused(error.to_string()))?;
    let id = uuid::Builder::from_random_bytes(random()?.to_be_bytes()).into_uuid();
    let envelope = Envelope {
        id,
        record_type: Cow::Borrowed(TERM_STARTED.name),
        subject: format!("{}/{}", A::TOPIC.aggregate, partition.number),
        time: context.outside.now(),
        term,
        sequence: 0,
        version: 0,
        fingerprint: 0,
        causation_id: id,
        correlation_id: id,
        traceparent: None,
    };
    let headers = Arc::new(envelope.to_headers(A::TOPIC.aggregate));
    Ok((term, Record { key: Bytes::from_static(b"\0term"), headers, payload }))
}

/// Doubles with each failure, and varies by half so that two claimants do not meet again.
fn back_off(failures: u32, random: u128) -> Duration {
    let doubled = BACK_OFF_MIN.saturating_mul(1 << failures.min(10)).min(BACK_OFF_MAX);
    doubled.mul_f64(0.5 + 0.5 * f64::from(random as u32) / f64::from(u32::MAX))
}
