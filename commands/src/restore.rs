//! How an owner comes to be: read to the end, claim, fold up to the claim, and start only if the claim counts.
//!
//! One thread restores a set of partitions together, off the lane's thread, so that a large partition delays no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use eventlog::fault::mutant;
use eventlog::{Admitted, Checkpoint, Partition, Tail, TailError, Terms};
use schemas::Term;
use tokio::time::Instant;

use crate::Aggregate;
use crate::metrics::STATE_WIPES;
use crate::outside::{Next, Work};
use crate::owner::{Context, Started};
use crate::states::{Folded, States, Store, StoreError};

/// Records folded into the store at a time while restoring.
const BATCH_MAX: usize = 4_096;
/// How long one poll waits for records.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// How often a restore that waits for records looks whether the log still has them.
const LOOK_EVERY: Duration = Duration::from_secs(1);
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
    /// When the log was last asked where it ends.
    looked: Instant,
}

impl<A> Restoring<A> {
    fn new(cancelled: Arc<AtomicBool>, states: States<A>) -> Self {
        Self { states, cancelled, end: 0, caught: false, claim: None, looked: Instant::now() }
    }
}

/// Restores partitions and reports to the lane, until each is started, void or cancelled.
pub(crate) struct Restore<A: Aggregate> {
    context: Arc<Context>,
    store: Arc<Store>,
    /// Those that are not under way.
    left: Vec<Job>,
    /// Before it begins.
    delay: Option<Duration>,
    claimed: Receiver<Claimed>,
    tell: Box<dyn Fn(Progress<A>) + Send>,
    under_way: Option<(Tail, BTreeMap<Partition, Restoring<A>>)>,
}

impl<A: Aggregate> Restore<A> {
    pub fn new(
        context: Arc<Context>,
        store: Arc<Store>,
        jobs: Vec<Job>,
        delay: Duration,
        claimed: Receiver<Claimed>,
        tell: Box<dyn Fn(Progress<A>) + Send>,
    ) -> Self {
        Self { context, store, left: jobs, delay: Some(delay), claimed, tell, under_way: None }
    }

    /// Opens those that are wanted and whose store is free.
    fn begin(&mut self) {
        self.left.retain(|job| !job.cancelled.load(Ordering::Relaxed));
        let (leased, waiting) = lease::<A>(&self.store, std::mem::take(&mut self.left));
        self.left = waiting;
        let mut restoring: BTreeMap<_, _> =
            leased.into_iter().map(|(job, states)| (job.partition, Restoring::new(job.cancelled, states))).collect();
        if restoring.is_empty() {
            return;
        }
        match open(&self.context, &mut restoring) {
            Ok(tail) => self.under_way = Some((tail, restoring)),
            Err(error) => self.failed(&error, restoring),
        }
    }

    fn failed(&mut self, error: &RestoreError, restoring: BTreeMap<Partition, Restoring<A>>) {
        tracing::warn!(error = error as &dyn std::error::Error, "restoring failed; trying again");
        self.left
            .extend(restoring.into_iter().map(|(partition, Restoring { cancelled, .. })| Job { partition, cancelled }));
    }

    fn pause(&self) -> Next {
        if self.left.is_empty() { Next::Done } else { Next::After(RETRY_AFTER) }
    }
}

impl<A: Aggregate> Work for Restore<A> {
    fn step(&mut self, patience: Duration) -> Next {
        if let Some(delay) = self.delay.take() {
            return Next::After(delay);
        }
        let Some((mut tail, mut restoring)) = self.under_way.take() else {
            self.begin();
            return if self.under_way.is_some() { Next::Now } else { self.pause() };
        };
        restoring.retain(|_, partition| !partition.cancelled.load(Ordering::Relaxed));
        if restoring.is_empty() {
            return self.pause();
        }
        let wait = POLL_WAIT.min(patience);
        match step(&self.context, &mut tail, &mut restoring, wait, &self.claimed, &*self.tell) {
            Ok(()) => self.under_way = Some((tail, restoring)),
            Err(error) => {
                self.failed(&error, restoring);
                return self.pause();
            }
        }
        Next::Now
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

/// Why a log cannot be folded into the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error("the log cannot be folded")]
    Tail(#[from] TailError),
    #[error("the log's end cannot be had")]
    Log(#[from] eventlog::LogError),
    #[error("{0} lost its tail meanwhile")]
    Lost(Partition),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn open<A: Aggregate>(
    context: &Context,
    restoring: &mut BTreeMap<Partition, Restoring<A>>,
) -> Result<Tail, RestoreError> {
    let mut from = Vec::new();
    for (partition, restoring) in restoring.iter_mut() {
        restoring.end = context.log.end(*partition)?;
        from.push((*partition, begin(context, *partition, &restoring.states)?));
    }
    match Tail::open(context.log.as_ref(), &from) {
        Ok(tail) => Ok(tail),
        Err(error) => Err(wipe_if_diverged(error, |partition| Some(&restoring.get(&partition)?.states))?),
    }
}

/// Where the fold of a partition goes on; local state that is of another fold, or stands on a claim that the log lost, is
/// forgotten.
pub(crate) fn begin<A: Aggregate>(
    context: &Context,
    partition: Partition,
    states: &States<A>,
) -> Result<Option<Checkpoint>, RestoreError> {
    if let Some(folded) = states.folded()? {
        if folded.base_stands(&*context.log, partition)? {
            return Ok(Some(folded.checkpoint));
        }
        tracing::error!(%partition, "the log lost the claim of the owner that folded it; local state is rebuilt");
        ::metrics::counter!(STATE_WIPES, "topic" => partition.topic.name).increment(1);
    }
    states.wipe()?;
    Ok(None)
}

/// The local state is of another log, or of a tail that the log lost: it is forgotten, and the next attempt folds anew.
pub(crate) fn wipe_if_diverged<'s, A: Aggregate>(
    error: TailError,
    states: impl Fn(Partition) -> Option<&'s States<A>>,
) -> Result<RestoreError, StoreError> {
    if let TailError::Diverged { partition, .. } = &error
        && let Some(diverged) = states(*partition)
    {
        tracing::error!(%partition, error = &error as &dyn std::error::Error, "the log has another past; local state is rebuilt");
        ::metrics::counter!(STATE_WIPES, "topic" => partition.topic.name).increment(1);
        diverged.wipe()?;
    }
    Ok(error.into())
}

fn step<A: Aggregate>(
    context: &Context,
    tail: &mut Tail,
    restoring: &mut BTreeMap<Partition, Restoring<A>>,
    wait: Duration,
    claimed: &Receiver<Claimed>,
    tell: &dyn Fn(Progress<A>),
) -> Result<(), RestoreError> {
    fold(context, tail, wait, |partition| Some(&restoring.get(&partition)?.states))?;
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
        if restoring.looked.elapsed() >= LOOK_EVERY {
            restoring.looked = Instant::now();
            let awaited = restoring.claim.as_ref().map_or(restoring.end, |claim| claim.offset + 1);
            // It lost its tail, and what is awaited with it: this never comes.
            if awaited > next && context.log.end(*partition)? < awaited {
                return Err(RestoreError::Lost(*partition));
            }
        }
        if !restoring.caught && next >= restoring.end {
            restoring.caught = true;
            tell(Progress::Caught { partition: *partition, number: tail.terms(*partition).next_number() });
        }
        let folded = |claim: &Claimed| next > claim.offset || mutant("restore-to-claim");
        if restoring.claim.as_ref().is_some_and(folded) {
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

/// Folds what comes within `wait` into the states of its partition, where that has some. Says how much it was.
pub(crate) fn fold<'s, A: Aggregate>(
    context: &Context,
    tail: &mut Tail,
    wait: Duration,
    states: impl Fn(Partition) -> Option<&'s States<A>>,
) -> Result<usize, RestoreError> {
    let admitted = match tail.poll(BATCH_MAX, wait) {
        Ok(admitted) => admitted,
        Err(error) => return Err(wipe_if_diverged(error, states)?),
    };
    let count = admitted.len();
    let mut by_partition: BTreeMap<Partition, Vec<Admitted>> = BTreeMap::new();
    for record in admitted {
        by_partition.entry(record.partition).or_default().push(record);
    }
    for (partition, records) in by_partition {
        if let Some(states) = states(partition)
            && let Some(checkpoint) = tail.checkpoint(partition)
        {
            states.fold(&context.codec, &records, Folded::read(checkpoint))?;
        }
    }
    Ok(count)
}

/// The fold has passed the claim. The owner starts only if the claim opened the current term and nothing else did since.
fn finish<A: Aggregate>(tail: &Tail, partition: Partition, restoring: Restoring<A>, tell: &dyn Fn(Progress<A>)) {
    let terms = tail.terms(partition);
    let ours = restoring.claim.as_ref().map(|claim| claim.term);
    if mutant("restore-to-claim")
        && let (Some(claim), Some(checkpoint)) = (&restoring.claim, tail.checkpoint(partition))
    {
        let terms = Terms { current: ours, sequence: 0 };
        let checkpoint = Checkpoint { next: claim.offset + 1, terms, ..checkpoint };
        let started = Started { states: restoring.states, checkpoint, term: claim.term };
        return tell(Progress::Started { partition, started });
    }
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
