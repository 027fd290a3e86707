//! Finds the lane of a key and waits for a definite answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Sender, TrySendError};
use domain::Timestamp;
use eventlog::{Assignment, EventLog, LogError, Membership, Partition};
use schemas::wire::log::decode_refusal;
use schemas::{Codec, Topic, topics};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use crate::lane::{Event, Known, Lane, Queued, Status};
use crate::ledger::Ledger;
use crate::owner::{Context, Failure};
use crate::states::{Outcome, Store, StoreError};
use crate::{Aggregate, CommandRequest, Decided, Lookup, Position, SendError};

/// How long to wait before asking again where nobody owned the partition, or a term ended.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// How the command side runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the state store lies; deletable at any time.
    pub state_dir: PathBuf,
    /// This node's name, stable over restarts and unique in the cluster.
    pub node: String,
    /// Threads per aggregate type, 1 or more.
    pub lanes: u32,
    /// Most commands waiting in the queue of one lane.
    pub queue_max: usize,
}

/// Why the command side could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state store.
    #[error("opening the state store failed")]
    Store(#[from] StoreError),
    /// The log.
    #[error("the log cannot be used")]
    Log(#[from] LogError),
    /// The operating system.
    #[error("starting a lane failed")]
    Thread(#[from] std::io::Error),
}

/// The command side of one node.
pub struct Commands {
    context: Arc<Context>,
    store: Arc<Store>,
    ledger: Arc<Ledger>,
    options: Options,
    lanes: Vec<Arc<dyn LaneHandle>>,
    threads: Vec<JoinHandle<()>>,
    membership: Option<Box<dyn Membership>>,
}

impl Commands {
    /// Opens the state store; lanes come by [`Self::serve`], partitions by [`Self::join`].
    ///
    /// # Errors
    /// When the state store cannot be opened.
    pub fn open(log: Arc<dyn EventLog>, codec: Arc<Codec>, options: Options) -> Result<Self, StartError> {
        let store = Store::open(&options.state_dir)?;
        let context = Arc::new(Context { log, codec, now });
        let (lanes, threads) = (Vec::new(), Vec::new());
        Ok(Self { context, store, ledger: Arc::default(), options, lanes, threads, membership: None })
    }

    /// Starts the lanes of an aggregate type.
    ///
    /// # Errors
    /// When a producer or a thread cannot be had.
    pub fn serve<A: Aggregate>(&mut self) -> Result<Arc<Router<A>>, StartError> {
        let mut lanes = Vec::new();
        for number in 0..self.options.lanes.max(1) {
            let (queue, commands) = crossbeam_channel::bounded(self.options.queue_max);
            let (store, node) = (Arc::clone(&self.store), self.options.node.clone());
            let (lane, events) = Lane::<A>::new(Arc::clone(&self.context), store, node, commands)?;
            let handle = Arc::new(Handle { topic: A::TOPIC, number, events, status: Arc::clone(&lane.status) });
            let name = format!("{}-lane-{number}", A::TOPIC.aggregate);
            self.threads.push(std::thread::Builder::new().name(name).spawn(move || lane.run())?);
            self.lanes.push(handle);
            lanes.push(queue);
        }
        Ok(Arc::new(Router { lanes, ledger: Arc::clone(&self.ledger) }))
    }

    /// Joins the group of owners of every aggregate type that is served.
    ///
    /// # Errors
    /// When the log refuses.
    pub fn join(&mut self, group: &str) -> Result<(), StartError> {
        let mut topics: Vec<&'static Topic> = self.lanes.iter().map(|lane| lane.topic()).collect();
        topics.dedup();
        let lanes = self.lanes.clone();
        let count = self.options.lanes.max(1);
        let dispatch = Box::new(move |assignment: Assignment| {
            for lane in &lanes {
                let of_lane = |partitions: &[Partition]| {
                    let ours = |p: &&Partition| p.topic == lane.topic() && p.number % count == lane.number();
                    partitions.iter().filter(ours).copied().collect::<Vec<_>>()
                };
                match &assignment {
                    Assignment::Assigned(partitions) => lane.assigned(of_lane(partitions)),
                    Assignment::Revoked(partitions) => lane.revoked(of_lane(partitions)),
                }
            }
        });
        self.membership = Some(self.context.log.join(group, &self.options.node, &topics, dispatch)?);
        Ok(())
    }

    /// Whether partitions were assigned and each of them has a running owner.
    #[must_use]
    pub fn ready(&self) -> bool {
        let counts = self.lanes.iter().map(|lane| lane.counts());
        let (assigned, running) = counts.fold((0, 0), |sum, lane| (sum.0 + lane.0, sum.1 + lane.1));
        assigned > 0 && assigned == running
    }

    /// What is known of a command id on this node.
    pub async fn lookup(&self, command_id: Uuid) -> Lookup {
        let mut pending = false;
        for lane in &self.lanes {
            match lane.lookup(command_id).await {
                Known::Decided(outcome) => return self.known(*outcome),
                Known::Pending => pending = true,
                Known::Absent => {}
            }
        }
        if pending { Lookup::Pending } else { Lookup::Absent }
    }

    fn known(&self, outcome: Outcome) -> Lookup {
        let Some(topic) = topics::by_name(&outcome.topic) else { return Lookup::Absent };
        let partition = Partition { topic, number: outcome.partition };
        let refusal = (outcome.record_type == topics::COMMAND_REFUSED.name)
            .then(|| decode_refusal(&self.context.codec, &outcome.payload).ok())
            .flatten();
        let position = Position { partition, offset: outcome.offset };
        Lookup::Decided { position, version: outcome.version, record_type: outcome.record_type, refusal }
    }

    /// Drains the lanes, steps down and leaves the group. Blocks up to ten seconds.
    pub fn stop(&mut self) {
        for lane in &self.lanes {
            lane.stop();
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a lane panicked");
            }
        }
        self.membership = None;
    }
}

/// The way to the owners of one aggregate type.
pub struct Router<A: Aggregate> {
    lanes: Vec<Sender<Queued<A>>>,
    ledger: Arc<Ledger>,
}

impl<A: Aggregate> Router<A> {
    /// Sends a command and waits for its definite answer. Where a term ends meanwhile it asks again with the same id.
    ///
    /// # Errors
    /// See [`SendError`]; after [`SendError::Unknown`] asking again with the same id is safe.
    pub async fn send(&self, request: CommandRequest<A>, deadline: Instant) -> Result<Decided<A::Event>, SendError> {
        if !self.ledger.note(request.command_id, request.fingerprint) {
            return Err(SendError::KeyReused);
        }
        let partition = Partition::of(A::TOPIC, request.key.as_bytes());
        let lane = &self.lanes[partition.number as usize % self.lanes.len()];
        let mut begun = false;
        loop {
            let (reply, answer) = oneshot::channel();
            match lane.try_send(Queued { partition, request: request.clone(), reply }) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) if begun => {}
                Err(TrySendError::Full(_)) => return Err(SendError::Busy),
                Err(TrySendError::Disconnected(_)) => return Err(SendError::NotReady),
            }
            match timeout_at(deadline, answer).await {
                Err(_) => return Err(SendError::Unknown),
                Ok(Ok(Ok(decided))) => return Ok(decided),
                Ok(Ok(Err(Failure::KeyReused))) => return Err(SendError::KeyReused),
                Ok(Ok(Err(Failure::Parked(reason)))) => return Err(SendError::Parked(reason)),
                Ok(Ok(Err(Failure::Busy))) if !begun => return Err(SendError::Busy),
                Ok(Ok(Err(Failure::Busy | Failure::NotOwner))) => {}
                // The owner dropped the reply: its term ended.
                Ok(Err(_)) => begun = true,
            }
            if Instant::now() + ASK_AGAIN_AFTER >= deadline {
                return Err(if begun { SendError::Unknown } else { SendError::NotReady });
            }
            sleep(ASK_AGAIN_AFTER).await;
        }
    }
}

/// What the node needs of a lane, whatever its aggregate.
trait LaneHandle: Send + Sync {
    fn topic(&self) -> &'static Topic;
    fn number(&self) -> u32;
    fn assigned(&self, partitions: Vec<Partition>);
    fn revoked(&self, partitions: Vec<Partition>);
    fn lookup(&self, id: Uuid) -> std::pin::Pin<Box<dyn Future<Output = Known> + Send + '_>>;
    fn counts(&self) -> (usize, usize);
    fn stop(&self);
}

struct Handle<A: Aggregate> {
    topic: &'static Topic,
    number: u32,
    events: Sender<Event<A>>,
    status: Arc<Status>,
}

impl<A: Aggregate> Handle<A> {
    fn tell(&self, event: Event<A>) {
        if self.events.send(event).is_err() {
            tracing::debug!(topic = self.topic.name, "the lane has ended");
        }
    }
}

impl<A: Aggregate> LaneHandle for Handle<A> {
    fn topic(&self) -> &'static Topic {
        self.topic
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn assigned(&self, partitions: Vec<Partition>) {
        if !partitions.is_empty() {
            self.tell(Event::Assigned(partitions));
        }
    }

    fn revoked(&self, partitions: Vec<Partition>) {
        if !partitions.is_empty() {
            self.tell(Event::Revoked(partitions));
        }
    }

    fn lookup(&self, id: Uuid) -> std::pin::Pin<Box<dyn Future<Output = Known> + Send + '_>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.tell(Event::Lookup(id, reply));
            answer.await.unwrap_or(Known::Pending)
        })
    }

    fn counts(&self) -> (usize, usize) {
        (self.status.assigned.load(Ordering::Relaxed), self.status.running.load(Ordering::Relaxed))
    }

    fn stop(&self) {
        self.tell(Event::Stop);
    }
}

/// The node's clock. A decision that depends on time says in its event which time it was.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
