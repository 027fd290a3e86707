//! The place where the owners of an aggregate type live. It serves many partitions with one producer, and reacts to commands
//! and a closed set of [`Event`]s, one at a time; whatever takes long (restoring) happens elsewhere and reports back as an event.

mod look;
mod shared;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use eventlog::{Appended, Appender, Partition, Record, Report, ReportSink};
use schemas::topics::TERM_STARTED;
use schemas::wire::log::encode_claim;
use schemas::{Envelope, Term, Topic};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use self::look::Look;
pub(crate) use self::shared::{Keeper, Shared};
use crate::metrics::{STEP_DOWNS, TERMS_STARTED};
use crate::owner::{Context, Failure, Owner, Reply, SteppedDown, answer};
use crate::restore::{ClaimSender, Claimed, Job, Progress, Restore};
use crate::states::{Outcome, Store};
use crate::{Aggregate, CommandRequest};

/// How long a stopping lane waits for outstanding records.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Longest back-off before a partition is claimed again, doubled from [`BACK_OFF_MIN`] with each failure.
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// Shortest back-off.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
/// How often it is looked whether the log still has what was confirmed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most events, or commands, between two looks at the others.
const AT_ONCE: usize = 64;
/// A term that lasted so long was no failure.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// A term's tokens: the term's number on this lane above, the sequence number below these bits.
const SEQUENCE_BITS: u32 = 40;

/// What can wake a lane, beside a command.
pub(crate) enum Event<A> {
    Report(Report),
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
    /// Said by the restore of this number.
    Restored(u64, Progress<A>),
    Lookup(Uuid, oneshot::Sender<Known>),
    Owned(oneshot::Sender<Vec<Owned>>),
    /// How far owners had confirmed the log when it was asked, and whether it has all of it.
    Looked(Vec<(Partition, u64, bool)>),
    Stop,
}

/// What a lane knows of a command.
pub(crate) enum Known {
    Decided(Box<Outcome>),
    Pending,
    Absent,
}

/// A command in the lane's queue.
pub(crate) struct Queued<A: Aggregate> {
    pub partition: Partition,
    pub request: CommandRequest<A>,
    pub reply: Reply<A>,
}

/// A partition that this node was assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Which one.
    pub partition: Partition,
    /// Number of its term and offset after the last confirmed record; `None` while it is being restored.
    pub running: Option<(u64, u64)>,
}

/// Which partitions a lane was assigned and which of them run.
pub(crate) struct Status {
    pub assigned: AtomicUsize,
    pub running: AtomicUsize,
    /// By the number of the partition.
    runs: Box<[AtomicBool]>,
}

impl Status {
    fn new(topic: &Topic) -> Self {
        let runs = (0..topic.partitions).map(|_| AtomicBool::new(false)).collect();
        Self { assigned: AtomicUsize::new(0), running: AtomicUsize::new(0), runs }
    }

    /// Whether the owner of `partition` runs here. A hint: the lane itself knows.
    pub fn runs(&self, partition: Partition) -> bool {
        self.runs.get(partition.number as usize).is_some_and(|runs| runs.load(Ordering::Relaxed))
    }
}

pub(crate) struct Lane<A: Aggregate> {
    pub context: Arc<Context>,
    pub store: Arc<Store>,
    pub node: String,
    pub status: Arc<Status>,
    commands: Receiver<Queued<A>>,
    pub sender: Sender<Event<A>>,
    appender: Box<dyn Appender>,
    /// A producer that is warm already: a new one takes half a second to get its id.
    spare: Box<dyn Appender>,
    /// In the order of their numbers, so that whatever is done to all of them is done in the same order each time.
    places: BTreeMap<Partition, Place<A>>,
    failures: HashMap<Partition, u32>,
    terms_begun: u64,
    restores_begun: u64,
    /// When it was last looked whether the log has what was confirmed; `None` while the answer is awaited.
    looked_at: Option<Instant>,
    /// Partitions that did not have it then.
    missing: HashSet<Partition>,
    stopping: Option<Instant>,
}

enum Place<A: Aggregate> {
    /// By the restore of this number.
    Restoring {
        restore: u64,
        cancelled: Arc<AtomicBool>,
        claimed: ClaimSender,
        claim: Option<(Term, u64)>,
    },
    Running {
        owner: Box<Owner<A>>,
        since: Instant,
    },
}

impl<A: Aggregate> Lane<A> {
    pub fn new(
        context: Arc<Context>,
        store: Arc<Store>,
        node: String,
        commands: Receiver<Queued<A>>,
        sender: Sender<Event<A>>,
    ) -> Result<Self, eventlog::LogError> {
        let appender = context.log.appender(sink(&sender))?;
        let spare = context.log.appender(sink(&sender))?;
        Ok(Self {
            context,
            store,
            node,
            status: Arc::new(Status::new(A::TOPIC)),
            commands,
            sender,
            appender,
            spare,
            places: BTreeMap::new(),
            failures: HashMap::new(),
            terms_begun: 0,
            restores_begun: 0,
            looked_at: Some(Instant::now()),
            missing: HashSet::new(),
            stopping: None,
        })
    }

    fn react(&mut self, event: Event<A>) {
        match event {
            Event::Report(report) => return self.report(report),
            Event::Assigned(partitions) => self.restore(partitions, Duration::ZERO),
            Event::Revoked(partitions) => partitions.iter().for_each(|partition| self.revoke(*partition)),
            Event::Restored(restore, progress) => self.restored(restore, progress),
            Event::Lookup(id, reply) => {
                let known = self.lookup(id);
                if reply.send(known).is_err() {
                    tracing::debug!(%id, "nobody waits for a lookup any more");
                }
            }
            Event::Owned(reply) => {
                if reply.send(self.owned()).is_err() {
                    tracing::debug!("nobody waits for the owned partitions any more");
                }
            }
            Event::Looked(found) => self.looked(found),
            Event::Stop => {
                self.stopping.get_or_insert_with(Instant::now);
            }
        }
        self.count();
    }

    fn command(&mut self, Queued { partition, request, reply }: Queued<A>) {
        let owner = match self.places.get_mut(&partition) {
            Some(Place::Running { owner, .. }) if self.context.ledger.is_complete() => owner,
            _ => return answer::<A>(reply, Err(Failure::NotOwner)),
        };
        if let Err(reason) = owner.handle(&self.context, self.appender.as_ref(), &request, reply) {
            self.step_down(partition, &reason);
        }
    }

    fn report(&mut self, report: Report) {
        let partition = report.partition;
        match self.places.get_mut(&partition) {
            Some(Place::Running { owner, .. }) => {
                if let Err(reason) = owner.confirm(&self.context, report) {
                    self.step_down(partition, &reason);
                }
            }
            Some(Place::Restoring { claim: Some((term, token)), claimed, .. }) if *token == report.token => {
                match report.outcome {
                    Ok(Appended { offset: Some(offset), .. }) => {
                        let claim = Claimed { partition, term: *term, offset };
                        if claimed.send(claim).is_err() {
                            self.step_down(partition, &SteppedDown::Abandoned);
                        }
                    }
                    Ok(_) => self.step_down(partition, &SteppedDown::Offset { offset: None, expected: 0 }),
                    Err(error) => {
                        let reason = SteppedDown::Append { detail: error.detail, fatal: error.fatal };
                        self.step_down(partition, &reason);
                    }
                }
            }
            _ => {}
        }
    }

    /// What the restore of another number says comes late: the partition was revoked, or given up, and is restored anew.
    fn restored(&mut self, restore: u64, progress: Progress<A>) {
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
    fn restore(&mut self, partitions: Vec<Partition>, delay: Duration) {
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

    fn revoke(&mut self, partition: Partition) {
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
    fn step_down(&mut self, partition: Partition, reason: &SteppedDown) {
        tracing::warn!(%partition, reason = reason as &dyn std::error::Error, "stepped down");
        ::metrics::counter!(STEP_DOWNS, "topic" => A::TOPIC.name).increment(1);
        let fatal = matches!(reason, SteppedDown::Append { fatal: true, .. });
        let ended: Vec<Partition> = if fatal {
            match self.context.log.appender(sink(&self.sender)) {
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

    fn lookup(&self, id: Uuid) -> Known {
        let mut settled = true;
        for place in self.places.values() {
            match place {
                Place::Restoring { .. } => settled = false,
                Place::Running { owner, .. } => match owner.lookup(id) {
                    Some(Some(outcome)) => return Known::Decided(Box::new(outcome)),
                    Some(None) => return Known::Pending,
                    None => {}
                },
            }
        }
        match self.store.outcome(id) {
            Ok(Some(outcome)) => Known::Decided(Box::new(outcome)),
            Ok(None) if settled => Known::Absent,
            Ok(None) => Known::Pending,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "looking a command up failed");
                Known::Pending
            }
        }
    }

    fn take_commands(&mut self) {
        for _ in 0..AT_ONCE {
            let Ok(queued) = self.commands.try_recv() else { return };
            self.command(queued);
        }
    }

    /// Says whether it has ended.
    fn keep(&mut self) -> bool {
        self.look();
        let ended = self.stopping.is_some_and(|since| self.is_drained() || since.elapsed() > DRAIN_MAX);
        if ended {
            self.leave();
        }
        ended
    }

    /// Folds the partition into the store whose records have waited longest, if it is time: all at once would keep everybody
    /// waiting for milliseconds. Says whether there may be another one.
    fn fold_one(&mut self) -> bool {
        let due = self.places.iter_mut().filter_map(|(partition, place)| match place {
            Place::Running { owner, .. } => Some((owner.wants_fold()?, *partition, owner)),
            Place::Restoring { .. } => None,
        });
        let Some((_, partition, owner)) = due.min_by_key(|(since, ..)| *since) else { return false };
        if let Err(reason) = owner.fold(&self.context) {
            self.step_down(partition, &reason);
        }
        true
    }

    /// Looks, beside everything else, whether the log still has each owner's claim and last confirmed record. An owner that
    /// appends nothing does not notice otherwise that the log lost its tail, and would go on answering repeats from what it
    /// remembers; and where the log lost the claim, too, and has grown again, what the owner appends can stand where it
    /// expects it. Between the two nothing is lost unnoticed: a log takes no more of an appender when it misses some of it.
    fn look(&mut self) {
        if self.looked_at.is_none_or(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        let running = |(partition, place): (&Partition, &Place<A>)| match place {
            Place::Running { owner, .. } => Some((*partition, owner.folded())),
            Place::Restoring { .. } => None,
        };
        let asked: Vec<_> = self.places.iter().filter_map(running).collect();
        let look = Look { log: Arc::clone(&self.context.log), asked, sender: self.sender.clone() };
        self.looked_at = match self.context.outside.run("look".into(), Box::new(look)) {
            Ok(_) => None,
            Err(error) => {
                tracing::error!(%error, "no thread for looking at the log");
                Some(Instant::now())
            }
        };
    }

    /// Twice in a row, because a new leader may say for a moment that less is replicated than is.
    fn looked(&mut self, found: Vec<(Partition, u64, bool)>) {
        self.looked_at = Some(Instant::now());
        for (partition, confirmed, there) in found {
            if there {
                self.missing.remove(&partition);
            } else if !self.missing.insert(partition)
                && matches!(self.places.get(&partition), Some(Place::Running { .. }))
            {
                self.missing.remove(&partition);
                self.step_down(partition, &SteppedDown::Lost { confirmed });
            }
        }
    }

    fn is_drained(&self) -> bool {
        let drained = |place: &Place<A>| matches!(place, Place::Running { owner, .. } if owner.is_drained());
        self.commands.is_empty()
            && self.places.values().all(|place| drained(place) || matches!(place, Place::Restoring { .. }))
    }

    fn leave(&mut self) {
        let partitions: Vec<_> = self.places.keys().copied().collect();
        partitions.into_iter().for_each(|partition| self.revoke(partition));
        self.count();
    }

    fn owned(&self) -> Vec<Owned> {
        let owned = |(partition, place): (&Partition, &Place<A>)| {
            let running = match place {
                Place::Running { owner, .. } => Some(owner.standing()),
                Place::Restoring { .. } => None,
            };
            Owned { partition: *partition, running }
        };
        self.places.iter().map(owned).collect()
    }

    fn count(&self) {
        let runs = |number| {
            let place = self.places.get(&Partition { topic: A::TOPIC, number });
            matches!(place, Some(Place::Running { .. }))
        };
        let mut running = 0;
        for (number, flag) in (0..).zip(&self.status.runs) {
            let runs = runs(number);
            running += usize::from(runs);
            flag.store(runs, Ordering::Relaxed);
        }
        self.status.assigned.store(self.places.len(), Ordering::Relaxed);
        self.status.running.store(running, Ordering::Relaxed);
    }
}

fn sink<A: Aggregate>(sender: &Sender<Event<A>>) -> ReportSink {
    let sender = sender.clone();
    Arc::new(move |report| {
        // A lane that has ended wants no reports.
        if sender.send(Event::Report(report)).is_err() {
            tracing::debug!("a report for a lane that has ended");
        }
    })
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
