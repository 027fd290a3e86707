//! The place where the owners of an aggregate type live. It serves many partitions with one producer, and reacts to commands
//! and a closed set of [`Event`]s, one at a time; whatever takes long (restoring) happens elsewhere and reports back as an event.

mod look;
mod shared;
mod terms;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use eventlog::{Appended, Appender, Partition, Report};
use schemas::{Term, Topic};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use self::shared::{Keeper, Reports, Shared};
use crate::owner::{Context, Failure, Owner, Reply, SteppedDown, answer};
use crate::restore::{ClaimSender, Claimed, Progress};
use crate::states::{Outcome, Store};
use crate::{Aggregate, CommandRequest};

/// How long a stopping lane waits for outstanding records.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Most events, commands or reports between two looks at the others.
const AT_ONCE: usize = 64;

/// What can wake a lane's own thread.
pub(crate) enum Event<A> {
    /// One that is not expected.
    Report(Report),
    /// The term cannot go on.
    Failed(Partition, SteppedDown),
    /// Who helped has done enough.
    More,
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
    reports: Receiver<Report>,
    /// Commands and reports wait behind what is on its way to the lane's own thread.
    waits: bool,
    pub sender: Sender<Event<A>>,
    reporting: Arc<Reports<A>>,
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
        let (reporting, reports) = Reports::new(sender.clone());
        let appender = context.log.appender(reporting.sink())?;
        let spare = context.log.appender(reporting.sink())?;
        Ok(Self {
            context,
            store,
            node,
            status: Arc::new(Status::new(A::TOPIC)),
            commands,
            reports,
            waits: false,
            sender,
            reporting,
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
            Event::Report(report) => {
                self.waits = false;
                return self.report(report);
            }
            Event::Failed(partition, reason) => {
                self.waits = false;
                return self.step_down(partition, &reason);
            }
            Event::More => return,
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
            self.leave_to_keeper(Event::Failed(partition, reason));
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

    /// Takes in commands and reports: whoever has one may do so. What may take its time (a term ends, or the log is read) is
    /// left to the lane's own thread, and so is everything behind it.
    fn take_in(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(report) = self.next(&self.reports) else { break };
            if self.expects(&report) {
                self.report(report);
            } else {
                self.leave_to_keeper(Event::Report(report));
            }
        }
        for _ in 0..AT_ONCE {
            let Some(queued) = self.next(&self.commands) else { return };
            self.command(queued);
        }
    }

    fn next<T>(&self, queue: &Receiver<T>) -> Option<T> {
        if self.waits { None } else { queue.try_recv().ok() }
    }

    fn leave_to_keeper(&mut self, event: Event<A>) {
        self.waits = self.sender.send(event).is_ok();
    }

    /// Whether it is settled, or ignored, at once.
    fn expects(&self, report: &Report) -> bool {
        match self.places.get(&report.partition) {
            Some(Place::Running { owner, .. }) => owner.expects(report),
            Some(Place::Restoring { claim, .. }) => claim.is_none_or(|(_, token)| token != report.token),
            None => true,
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

    /// Begins to fold the partition into the store whose records have waited longest, if it is time: all at once would keep
    /// everybody waiting for milliseconds. Says whether there may be another one.
    fn fold_one(&mut self) -> bool {
        self.end_folds();
        let due = self.places.iter_mut().filter_map(|(partition, place)| match place {
            Place::Running { owner, .. } => Some((owner.wants_fold()?, *partition, owner)),
            Place::Restoring { .. } => None,
        });
        let Some((_, partition, owner)) = due.min_by_key(|(since, ..)| *since) else { return false };
        if let Err(reason) = owner.begin_fold(&self.context) {
            self.step_down(partition, &reason);
        }
        true
    }

    fn end_folds(&mut self) {
        let failed = self.places.iter_mut().filter_map(|(partition, place)| match place {
            Place::Running { owner, .. } => Some((*partition, owner.end_fold().err()?)),
            Place::Restoring { .. } => None,
        });
        for (partition, reason) in failed.collect::<Vec<_>>() {
            self.step_down(partition, &reason);
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
