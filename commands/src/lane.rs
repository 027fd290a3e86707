//! The thread on which the owners of an aggregate type live. It serves many partitions with one producer, and reacts to a
//! closed set of [`Event`]s; whatever takes long (restoring) happens elsewhere and reports back as an event.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use eventlog::{Appended, Appender, Partition, Record, Report, ReportSink};
use schemas::topics::TERM_STARTED;
use schemas::wire::log::encode_claim;
use schemas::{Envelope, Term, Topic};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::metrics::{STEP_DOWNS, TERMS_STARTED};
use crate::owner::{Context, FOLD_AFTER, Failure, Owner, Reply, SteppedDown, answer};
use crate::restore::{self, ClaimSender, Claimed, Job, Progress};
use crate::states::{Outcome, Store};
use crate::{Aggregate, CommandRequest};

/// How long a stopping lane waits for outstanding records.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Longest back-off before a partition is claimed again, doubled from [`BACK_OFF_MIN`] with each failure.
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// Shortest back-off.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
/// A term that lasted so long was no failure.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// A term's tokens: the term's number on this lane above, the sequence number below these bits.
const SEQUENCE_BITS: u32 = 40;

/// What can wake a lane, beside a command.
pub(crate) enum Event<A> {
    Report(Report),
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
    Restored(Progress<A>),
    Lookup(Uuid, oneshot::Sender<Known>),
    Owned(oneshot::Sender<Vec<Owned>>),
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
    pub commands: Receiver<Queued<A>>,
    pub events: Receiver<Event<A>>,
    pub sender: Sender<Event<A>>,
    appender: Box<dyn Appender>,
    /// A producer that is warm already: a new one takes half a second to get its id.
    spare: Box<dyn Appender>,
    places: HashMap<Partition, Place<A>>,
    failures: HashMap<Partition, u32>,
    terms_begun: u64,
    folded_at: Instant,
}

enum Place<A: Aggregate> {
    Restoring { cancelled: Arc<AtomicBool>, claimed: ClaimSender, claim: Option<(Term, u64)> },
    Running { owner: Box<Owner<A>>, since: Instant },
}

impl<A: Aggregate> Lane<A> {
    pub fn new(
        context: Arc<Context>,
        store: Arc<Store>,
        node: String,
        commands: Receiver<Queued<A>>,
    ) -> Result<(Self, Sender<Event<A>>), eventlog::LogError> {
        let (sender, events) = crossbeam_channel::unbounded();
        let appender = context.log.appender(sink(&sender))?;
        let spare = context.log.appender(sink(&sender))?;
        let lane = Self {
            context,
            store,
            node,
            status: Arc::new(Status::new(A::TOPIC)),
            commands,
            events,
            sender: sender.clone(),
            appender,
            spare,
            places: HashMap::new(),
            failures: HashMap::new(),
            terms_begun: 0,
            folded_at: Instant::now(),
        };
        Ok((lane, sender))
    }

    /// Serves until stopped and drained.
    pub fn run(mut self) {
        let mut stopping: Option<Instant> = None;
        loop {
            crossbeam_channel::select_biased! {
                recv(self.events) -> event => match event {
                    Ok(Event::Stop) => { stopping.get_or_insert_with(Instant::now); }
                    Ok(event) => self.react(event),
                    Err(_) => return,
                },
                recv(self.commands) -> queued => match queued {
                    Ok(queued) => self.command(queued),
                    Err(_) => { stopping.get_or_insert_with(Instant::now); }
                },
                default(FOLD_AFTER) => {}
            }
            if self.folded_at.elapsed() >= FOLD_AFTER / 2 {
                self.tick();
            }
            if stopping.is_some_and(|since| self.is_drained() || since.elapsed() > DRAIN_MAX) {
                return self.leave();
            }
        }
    }

    fn react(&mut self, event: Event<A>) {
        match event {
            Event::Report(report) => return self.report(report),
            Event::Assigned(partitions) => self.restore(partitions, Duration::ZERO),
            Event::Revoked(partitions) => partitions.iter().for_each(|partition| self.revoke(*partition)),
            Event::Restored(progress) => self.restored(progress),
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
            Event::Stop => {}
        }
        self.count();
    }

    fn command(&mut self, Queued { partition, request, reply }: Queued<A>) {
        let Some(Place::Running { owner, .. }) = self.places.get_mut(&partition) else {
            return answer::<A>(reply, Err(Failure::NotOwner));
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
                            tracing::debug!(%partition, "the restoring thread has ended");
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

    fn restored(&mut self, progress: Progress<A>) {
        match progress {
            Progress::Caught { partition, number } => self.claim(partition, number),
            Progress::Void { partition } => self.step_down(partition, &SteppedDown::Deposed),
            Progress::Started { partition, started } => {
                let Some(Place::Restoring { claim: Some((term, token)), .. }) = self.places.get(&partition) else {
                    return;
                };
                if *term != started.term {
                    return;
                }
                tracing::debug!(%partition, term = %term, next = started.checkpoint.next, "owner started");
                ::metrics::counter!(TERMS_STARTED, "topic" => A::TOPIC.name).increment(1);
                self.context.peers.announce(partition, *term);
                let owner = Box::new(Owner::new(partition, started, *token));
                self.places.insert(partition, Place::Running { owner, since: Instant::now() });
            }
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
        for partition in partitions {
            if matches!(self.places.get(&partition), Some(Place::Running { .. })) {
                continue;
            }
            self.revoke(partition);
            let cancelled = Arc::new(AtomicBool::new(false));
            jobs.push(Job { partition, cancelled: Arc::clone(&cancelled) });
            self.places.insert(partition, Place::Restoring { cancelled, claimed: claimed.clone(), claim: None });
        }
        let (context, store, sender) = (Arc::clone(&self.context), Arc::clone(&self.store), self.sender.clone());
        let tell = move |progress| {
            if sender.send(Event::Restored(progress)).is_err() {
                tracing::debug!("the lane has ended");
            }
        };
        let work = move || restore::run::<A>(&context, &store, jobs, delay, &receiver, &tell);
        if let Err(error) = std::thread::Builder::new().name("restore".into()).spawn(work) {
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
        self.restore(ended, back_off(failures));
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

    fn tick(&mut self) {
        self.folded_at = Instant::now();
        let mut ended = Vec::new();
        for (partition, place) in &mut self.places {
            if let Place::Running { owner, .. } = place
                && let Err(reason) = owner.tick(&self.context)
            {
                ended.push((*partition, reason));
            }
        }
        for (partition, reason) in ended {
            self.step_down(partition, &reason);
        }
    }

    fn is_drained(&self) -> bool {
        let drained = |place: &Place<A>| matches!(place, Place::Running { owner, .. } if owner.is_drained());
        self.commands.is_empty()
            && self.places.values().all(|place| drained(place) || matches!(place, Place::Restoring { .. }))
    }

    fn leave(mut self) {
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
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| refused(format!("no random numbers: {error}")))?;
    let term = Term { number, nonce: u128::from_be_bytes(nonce) };
    let payload = encode_claim(&context.codec, A::TOPIC, term, node).map_err(|error| refused(error.to_string()))?;
    let id = Uuid::new_v4();
    let envelope = Envelope {
        id,
        record_type: Cow::Borrowed(TERM_STARTED.name),
        subject: format!("{}/{}", A::TOPIC.aggregate, partition.number),
        time: (context.now)(),
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
fn back_off(failures: u32) -> Duration {
    let doubled = BACK_OFF_MIN.saturating_mul(1 << failures.min(10)).min(BACK_OFF_MAX);
    let jitter = getrandom::u32().unwrap_or(0);
    doubled.mul_f64(0.5 + 0.5 * f64::from(jitter) / f64::from(u32::MAX))
}
