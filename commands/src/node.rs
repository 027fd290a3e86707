//! The command side of one node: its lanes, and what they are assigned.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use eventlog::shared::Tap;
use eventlog::{Assignment, EventLog, LogError, Membership, Partition};
use schemas::wire::log::decode_refusal;
use schemas::{Codec, CodecError, Topic, topics};
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::lane::{Event, Keeper, Known, Lane, Owned, Shared};
use crate::outside::{Outside, System};
use crate::owner::Context;
use crate::peers::{Answer, Boxed, Forwarded, Peers, Trouble};
use crate::router::{self, Router, Way};
use crate::states::{Outcome, Store, StoreError};
use crate::warm::Warm;
use crate::{Aggregate, Lookup, Position};

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
    /// Most memory for states that are kept at hand, in bytes.
    pub states_bytes_max: usize,
    /// Whether what other nodes own is folded here, too, so that it is taken over at once.
    pub warm_copies: bool,
    /// Where owners tell what the log has confirmed.
    pub tap: Tap,
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
    options: Options,
    lanes: Vec<Arc<dyn LaneHandle>>,
    threads: Vec<JoinHandle<()>>,
    membership: Option<Box<dyn Membership>>,
    /// Until it is stopped.
    running: Option<Arc<()>>,
}

impl Commands {
    /// Opens the state store; lanes come by [`Self::serve`], partitions by [`Self::join`].
    ///
    /// # Errors
    /// When the state store cannot be opened.
    pub fn open(
        log: Arc<dyn EventLog>,
        codec: Arc<Codec>,
        peers: Arc<dyn Peers>,
        options: Options,
    ) -> Result<Self, StartError> {
        let store = Store::open(&options.state_dir, options.states_bytes_max)?;
        Ok(Self::on(log, codec, peers, Arc::new(System), store, options))
    }

    /// The same with a state store and an outside world of the caller's; `options.state_dir` is not looked at.
    #[must_use]
    pub fn on(
        log: Arc<dyn EventLog>,
        codec: Arc<Codec>,
        peers: Arc<dyn Peers>,
        outside: Arc<dyn Outside>,
        store: Arc<Store>,
        options: Options,
    ) -> Self {
        let (ledger, tap) = (Arc::default(), options.tap.clone());
        let context = Arc::new(Context { log, codec, outside, peers, ledger, tap });
        let (lanes, threads) = (Vec::new(), Vec::new());
        Self { context, store, options, lanes, threads, membership: None, running: Some(Arc::default()) }
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
            let (sender, events) = crossbeam_channel::unbounded();
            let lane = Lane::<A>::new(Arc::clone(&self.context), store, node, commands, sender.clone())?;
            let status = Arc::clone(&lane.status);
            let way = Way { lane: Shared::new(lane, queue), status };
            let keeper = Keeper { shared: Arc::clone(&way.lane), events, folding: false };
            let codec = Arc::clone(&self.context.codec);
            self.lanes.push(Arc::new(Handle { number, events: sender, way: way.clone(), codec }));
            let name = format!("{}-lane-{number}", A::TOPIC.aggregate);
            self.threads.extend(self.context.outside.run(name, Box::new(keeper))?);
            lanes.push(way);
        }
        if let Some(running) = self.running.as_ref().filter(|_| self.options.warm_copies) {
            let (context, store) = (Arc::clone(&self.context), Arc::clone(&self.store));
            let warm = Warm::<A>::new(context, store, Arc::downgrade(running));
            self.threads.extend(self.context.outside.run("warm-copies".into(), Box::new(warm))?);
        }
        let Context { ledger, codec, peers, .. } = &*self.context;
        Ok(Arc::new(Router::new(lanes, Arc::clone(ledger), Arc::clone(codec), Arc::clone(peers))))
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
        let ledger = Arc::clone(&self.context.ledger);
        let dispatch = Box::new(move |assignment: Assignment| {
            match &assignment {
                Assignment::Assigned(partitions) => ledger.assigned(partitions),
                Assignment::Revoked(partitions) => ledger.settled(partitions),
            }
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

    /// What other nodes, and those who ask about commands, may want of this one.
    #[must_use]
    pub fn local(&self) -> Local {
        Local { lanes: self.lanes.clone(), codec: Arc::clone(&self.context.codec) }
    }

    /// Drains the lanes, steps down and leaves the group. Blocks up to ten seconds.
    pub fn stop(&mut self) {
        self.running = None;
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

/// The lanes of this node, for whoever asks from outside. Clones share.
#[derive(Clone)]
pub struct Local {
    lanes: Vec<Arc<dyn LaneHandle>>,
    codec: Arc<Codec>,
}

impl Local {
    /// Has a command of another node decided here, and only here: one attempt, so that no command goes in circles.
    ///
    /// # Errors
    /// When there is no decision.
    pub async fn deliver(&self, command: Forwarded, deadline: Instant) -> Result<Answer, Trouble> {
        let partition = Partition::of(command.topic, command.key.as_bytes());
        let of_topic = self.lanes.iter().filter(|lane| lane.topic() == command.topic);
        let count = of_topic.clone().count();
        let number = (partition.number as usize).checked_rem(count).ok_or(Trouble::NotOwner)?;
        let lane = of_topic.into_iter().nth(number).ok_or(Trouble::NotOwner)?;
        lane.deliver(partition, command, deadline).await
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

    /// Each partition that this node was assigned.
    pub async fn owned(&self) -> Vec<Owned> {
        let mut owned = Vec::new();
        for lane in &self.lanes {
            owned.extend(lane.owned().await);
        }
        owned.sort_by_key(|owned| owned.partition);
        owned
    }

    fn known(&self, outcome: Outcome) -> Lookup {
        let Some(topic) = topics::by_name(&outcome.topic) else { return Lookup::Absent };
        let partition = Partition { topic, number: outcome.partition };
        let refusal = (outcome.record_type == topics::COMMAND_REFUSED.name)
            .then(|| decode_refusal(&self.codec, &outcome.payload).ok())
            .flatten();
        let position = Position { partition, offset: outcome.offset };
        Lookup::Decided { position, version: outcome.version, record_type: outcome.record_type, refusal }
    }
}

/// Asks this node, then the others, what became of a command.
pub struct Lookups {
    /// This node's lanes, if it has any.
    pub local: Option<Local>,
    /// The others.
    pub peers: Arc<dyn Peers>,
}

impl Lookups {
    /// What is known of a command id on any node that answers.
    pub async fn find(&self, command_id: Uuid) -> Lookup {
        let here = match &self.local {
            Some(local) => local.lookup(command_id).await,
            None => Lookup::Absent,
        };
        match here {
            Lookup::Absent => self.peers.lookup(command_id).await,
            // The partition of a command cannot be told from its id: somebody else may have it while ours restore.
            Lookup::Pending => match self.peers.lookup(command_id).await {
                Lookup::Absent => Lookup::Pending,
                known => known,
            },
            decided @ Lookup::Decided { .. } => decided,
        }
    }
}

/// What the node needs of a lane, whatever its aggregate.
trait LaneHandle: Send + Sync {
    fn topic(&self) -> &'static Topic;
    fn number(&self) -> u32;
    fn assigned(&self, partitions: Vec<Partition>);
    fn revoked(&self, partitions: Vec<Partition>);
    fn deliver(
        &self,
        partition: Partition,
        command: Forwarded,
        deadline: Instant,
    ) -> Boxed<'_, Result<Answer, Trouble>>;
    fn lookup(&self, id: Uuid) -> Boxed<'_, Known>;
    fn owned(&self) -> Boxed<'_, Vec<Owned>>;
    fn counts(&self) -> (usize, usize);
    fn stop(&self);
}

struct Handle<A: Aggregate> {
    number: u32,
    events: Sender<Event<A>>,
    way: Way<A>,
    codec: Arc<Codec>,
}

impl<A: Aggregate> Handle<A> {
    fn tell(&self, event: Event<A>) {
        if self.events.send(event).is_err() {
            tracing::debug!(topic = A::TOPIC.name, "the lane has ended");
        }
    }
}

impl<A: Aggregate> LaneHandle for Handle<A> {
    fn topic(&self) -> &'static Topic {
        A::TOPIC
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

    fn deliver(
        &self,
        partition: Partition,
        command: Forwarded,
        deadline: Instant,
    ) -> Boxed<'_, Result<Answer, Trouble>> {
        Box::pin(async move {
            let unusable = |error: CodecError| {
                tracing::error!(error = &error as &dyn std::error::Error, %partition, "a forwarded command");
                Trouble::Unknown
            };
            let request = command.request::<A>().map_err(unusable)?;
            let decided = router::ask(&self.way, partition, request, deadline).await?;
            Answer::of::<A>(&self.codec, &decided).map_err(unusable)
        })
    }

    fn lookup(&self, id: Uuid) -> Boxed<'_, Known> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.tell(Event::Lookup(id, reply));
            answer.await.unwrap_or(Known::Pending)
        })
    }

    fn owned(&self) -> Boxed<'_, Vec<Owned>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.tell(Event::Owned(reply));
            answer.await.unwrap_or_default()
        })
    }

    fn counts(&self) -> (usize, usize) {
        (self.way.status.assigned.load(Ordering::Relaxed), self.way.status.running.load(Ordering::Relaxed))
    }

    fn stop(&self) {
        self.tell(Event::Stop);
    }
}
