//! How an owner comes to be: read to the end, claim, fold up to the claim, and start only if the claim counts.
//!
//! One thread restores a set of partitions together, off the lane's thread, so that a large partition delays no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use eventlog::{Admitted, Partition, Tail, TailError};
use schemas::Term;

use crate::Aggregate;
use crate::metrics::STATE_WIPES;
use crate::owner::{Context, Started};
use crate::states::{States, Store, StoreError};

/// Records folded into the store at a time while restoring.
const BATCH_MAX: usize = 4_096;
/// How long one poll waits for records.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// How long to wait before trying again after the log or the store failed, or while another thread still holds the lease.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// What a restoring thread tells its lane.
pub(crate) enum Progress<A> {
    /// The end was reached: the lane should claim with this number.
    Caught { partition: Partition, number: u64 },
    /// The claim is in the log and counts.
    Started { partition: Partition, started: Started<A> },
    /// The claim does not count: another one came first.
    Void { partition: Partition },
}

/// The lane's word that its claim was acknowledged at `offset`.
pub(crate) struct Claimed {
    pub partition: Partition,
    pub term: Term,
    pub offset: u64,
}

/// What one partition needs in order to be restored.
pub(crate) struct Job {
    pub partition: Partition,
    /// Set when the partition is no longer wanted.
    pub cancelled: Arc<AtomicBool>,
}

struct Restoring<A> {
    states: States<A>,
    cancelled: Arc<AtomicBool>,
    /// The log's end when restoring began.
    end: u64,
    caught: bool,
    claim: Option<Claimed>,
}

impl<A> Restoring<A> {
    fn new(cancelled: Arc<AtomicBool>, states: States<A>) -> Self {
        Self { states, cancelled, end: 0, caught: false, claim: None }
    }
}

/// Restores `jobs` after `delay` and reports to the lane; returns when each is started, void or cancelled.
pub(crate) fn run<A: Aggregate>(
    context: &Context,
    store: &Arc<Store>,
    jobs: Vec<Job>,
    delay: Duration,
    claimed: &Receiver<Claimed>,
    tell: &dyn Fn(Progress<A>),
) {
    std::thread::sleep(delay);
    let mut left = jobs;
    while !left.is_empty() {
        left.retain(|job| !job.cancelled.load(Ordering::Relaxed));
        let (leased, waiting) = lease::<A>(store, left);
        left = waiting;
        let mut restoring: BTreeMap<_, _> =
            leased.into_iter().map(|(job, states)| (job.partition, Restoring::new(job.cancelled, states))).collect();
        if let Err(error) = attempt(context, &mut restoring, claimed, tell) {
            tracing::warn!(error = &error as &dyn std::error::Error, "restoring failed; trying again");
            left.extend(
                restoring.into_iter().map(|(partition, Restoring { cancelled, .. })| Job { partition, cancelled }),
            );
        }
        if left.is_empty() {
            return;
        }
        std::thread::sleep(RETRY_AFTER);
    }
}

/// An owner that stepped down, or an earlier restore, may still hold the right to fold for a moment.
fn lease<A: Aggregate>(store: &Arc<Store>, jobs: Vec<Job>) -> (Vec<(Job, States<A>)>, Vec<Job>) {
    let (mut leased, mut waiting) = (Vec::new(), Vec::new());
    for job in jobs {
        match store.lease(job.partition) {
            Some(states) => leased.push((job, states)),
            None => waiting.push(job),
        }
    }
    (leased, waiting)
}

#[derive(Debug, thiserror::Error)]
enum RestoreError {
    #[error("the log cannot be folded")]
    Tail(#[from] TailError),
    #[error("the log's end cannot be had")]
    Log(#[from] eventlog::LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn attempt<A: Aggregate>(
    context: &Context,
    restoring: &mut BTreeMap<Partition, Restoring<A>>,
    claimed: &Receiver<Claimed>,
    tell: &dyn Fn(Progress<A>),
) -> Result<(), RestoreError> {
    let mut tail = open(context, restoring)?;
    while !restoring.is_empty() {
        restoring.retain(|_, partition| !partition.cancelled.load(Ordering::Relaxed));
        step(context, &mut tail, restoring, claimed, tell)?;
    }
    Ok(())
}

fn open<A: Aggregate>(
    context: &Context,
    restoring: &mut BTreeMap<Partition, Restoring<A>>,
) -> Result<Tail, RestoreError> {
    let mut from = Vec::new();
    for (partition, restoring) in restoring.iter_mut() {
        restoring.end = context.log.end(*partition)?;
        let checkpoint = restoring.states.checkpoint()?;
        if checkpoint.is_none() {
            restoring.states.wipe()?;
        }
        from.push((*partition, checkpoint));
    }
    match Tail::open(context.log.as_ref(), &from) {
        Ok(tail) => Ok(tail),
        Err(error) => Err(wipe_if_diverged(error, restoring)?),
    }
}

/// The local state is of another log, or of a tail that the log lost: it is forgotten, and the next attempt folds anew.
fn wipe_if_diverged<A: Aggregate>(
    error: TailError,
    restoring: &BTreeMap<Partition, Restoring<A>>,
) -> Result<RestoreError, StoreError> {
    if let TailError::Diverged { partition, .. } = &error
        && let Some(diverged) = restoring.get(partition)
    {
        tracing::error!(%partition, error = &error as &dyn std::error::Error, "the log has another past; local state is rebuilt");
        ::metrics::counter!(STATE_WIPES, "topic" => partition.topic.name).increment(1);
        diverged.states.wipe()?;
    }
    Ok(error.into())
}

fn step<A: Aggregate>(
    context: &Context,
    tail: &mut Tail,
    restoring: &mut BTreeMap<Partition, Restoring<A>>,
    claimed: &Receiver<Claimed>,
    tell: &dyn Fn(Progress<A>),
) -> Result<(), RestoreError> {
    let admitted = match tail.poll(BATCH_MAX, POLL_WAIT) {
        Ok(admitted) => admitted,
        Err(error) => return Err(wipe_if_diverged(error, restoring)?),
    };
    fold(context, tail, restoring, admitted)?;
    loop {
        match claimed.try_recv() {
            Ok(claim) => {
                if let Some(restoring) = restoring.get_mut(&claim.partition) {
                    restoring.claim = Some(claim);
                }
            }
            Err(TryRecvError::Empty) => break,
            // The lane is gone: nobody wants the partitions any more.
            Err(TryRecvError::Disconnected) => {
                restoring.clear();
                break;
            }
        }
    }
    let mut done = Vec::new();
    for (partition, restoring) in restoring.iter_mut() {
        let next = tail.next(*partition);
        if !restoring.caught && next >= restoring.end {
            restoring.caught = true;
            tell(Progress::Caught { partition: *partition, number: tail.terms(*partition).next_number() });
        }
        if restoring.claim.as_ref().is_some_and(|claim| next > claim.offset) {
            done.push(*partition);
        }
    }
    for partition in done {
        if let Some(restoring) = restoring.remove(&partition) {
            finish(tail, partition, restoring, tell);
        }
    }
    Ok(())
}

fn fold<A: Aggregate>(
    context: &Context,
    tail: &Tail,
    restoring: &BTreeMap<Partition, Restoring<A>>,
    admitted: Vec<Admitted>,
) -> Result<(), StoreError> {
    let mut by_partition: BTreeMap<Partition, Vec<Admitted>> = BTreeMap::new();
    for record in admitted {
        by_partition.entry(record.partition).or_default().push(record);
    }
    for (partition, records) in by_partition {
        if let Some(restoring) = restoring.get(&partition)
            && let Some(checkpoint) = tail.checkpoint(partition)
        {
            restoring.states.fold(&context.codec, &records, checkpoint, |_| None)?;
        }
    }
    Ok(())
}

/// The fold has passed the claim. The owner starts only if the claim opened the current term and nothing else did since.
fn finish<A: Aggregate>(tail: &Tail, partition: Partition, restoring: Restoring<A>, tell: &dyn Fn(Progress<A>)) {
    let terms = tail.terms(partition);
    let ours = restoring.claim.as_ref().map(|claim| claim.term);
    match tail.checkpoint(partition) {
        Some(checkpoint) if terms.current == ours && terms.sequence == 0 => {
            if let Some(term) = ours {
                let started = Started { states: restoring.states, checkpoint, term };
                tell(Progress::Started { partition, started });
            }
        }
        _ => tell(Progress::Void { partition }),
    }
}

/// Where a lane tells a restoring thread that claims were acknowledged.
pub(crate) type ClaimSender = Sender<Claimed>;
