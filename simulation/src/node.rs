//! One node: the real command side, with time, chance and threads from the simulation, and what survives its crashes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use commands::outside::{Next, Outside, Work};
use commands::states::Store;
use commands::{Commands, Options, Peers, Router};
use domain::Timestamp;
use domain::order::Order;
use domain::stock::StockItem;
use eventlog::EventLog;
use eventlog::shared::{SharedLog, Steps, Tap};
use eventlog::simulated::SimulatedLog;
use parking_lot::Mutex;
use projections::views::decoder;
use schemas::Codec;
use tokio::time::Instant;

use crate::network::Network;
use crate::random::Random;

/// The date at which every simulation begins.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// Milliseconds since the simulation began.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn ms(self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }

    pub fn log_time(self) -> Timestamp {
        Timestamp(EPOCH_MS + self.ms() as i64)
    }
}

pub(crate) struct Node {
    pub name: String,
    skew_ms: i64,
    store: Arc<Store>,
    /// The store as it was some time ago: what the disk may have if the machine went down, too.
    older: Arc<Store>,
    life: Option<Life>,
    /// How many records the views of its process did not have to fetch.
    pub told: Arc<AtomicU64>,
}

/// What a crash ends.
struct Life {
    orders: Arc<Router<Order>>,
    stock: Arc<Router<StockItem>>,
    jobs: Vec<Job>,
    begun: Begun,
    /// What the views of its process read: all that its owners confirm need not be fetched.
    shared: Arc<dyn EventLog>,
    _commands: Commands,
}

struct Job {
    work: Box<dyn Work>,
    due: Instant,
}

type Begun = Arc<Mutex<Vec<Box<dyn Work>>>>;

/// What reads for the views of the process.
struct Reading {
    steps: Steps,
    told: Arc<AtomicU64>,
}

impl Work for Reading {
    fn step(&mut self, _: Duration) -> Next {
        self.told.fetch_add(self.steps.step(), Ordering::Relaxed);
        Next::Now
    }
}

struct Simulated {
    clock: Clock,
    skew_ms: i64,
    random: Random,
    begun: Begun,
}

impl Outside for Simulated {
    fn now(&self) -> Timestamp {
        Timestamp(self.clock.log_time().0 + self.skew_ms)
    }

    fn random(&self) -> io::Result<u128> {
        Ok(self.random.wide())
    }

    fn helps(&self) -> bool {
        self.random.per_mille(500)
    }

    fn run(&self, _: String, work: Box<dyn Work>) -> io::Result<Option<JoinHandle<()>>> {
        self.begun.lock().push(work);
        Ok(None)
    }
}

impl Node {
    pub fn new(name: String, skew_ms: i64) -> Self {
        Self { name, skew_ms, store: Store::in_memory(), older: Store::in_memory(), life: None, told: Arc::default() }
    }

    pub fn is_alive(&self) -> bool {
        self.life.is_some()
    }

    pub fn routers(&self) -> Option<(Arc<Router<Order>>, Arc<Router<StockItem>>)> {
        self.life.as_ref().map(|life| (Arc::clone(&life.orders), Arc::clone(&life.stock)))
    }

    /// The log as the views of its process read it.
    pub fn shared(&self) -> Option<Arc<dyn EventLog>> {
        self.life.as_ref().map(|life| Arc::clone(&life.shared))
    }

    pub fn start(&mut self, log: &SimulatedLog, network: &Network, clock: Clock, random: &Random) {
        let (begun, tap) = (Begun::default(), Tap::default());
        let (skew_ms, random) = (self.skew_ms, random.clone());
        let outside = Arc::new(Simulated { clock, skew_ms, random, begun: Arc::clone(&begun) });
        let options = Options {
            state_dir: "".into(),
            node: self.name.clone(),
            lanes: 1,
            queue_max: 16,
            states_bytes_max: 0,
            warm_copies: true,
            tap: tap.clone(),
        };
        let peers: Arc<dyn Peers> = Arc::new(network.of(&self.name));
        let (codec, store) = (Arc::new(Codec::local()), Arc::clone(&self.store));
        let log: Arc<dyn EventLog> = Arc::new(log.clone());
        let (shared, steps) = SharedLog::stepped(Arc::clone(&log), decoder(Arc::clone(&codec)), tap);
        begun.lock().push(Box::new(Reading { steps, told: Arc::clone(&self.told) }));
        let mut commands = Commands::on(log, codec, peers, outside, store, options);
        let orders = commands.serve::<Order>().expect("the simulated log makes appenders");
        let stock = commands.serve::<StockItem>().expect("the simulated log makes appenders");
        commands.join("owners").expect("the simulated log has groups");
        network.up(&self.name, commands.local());
        let shared = Arc::new(shared);
        self.life = Some(Life { orders, stock, jobs: Vec::new(), begun, shared, _commands: commands });
    }

    /// The disk stops following.
    pub fn fall_behind(&mut self) {
        self.older = self.store.left_behind();
    }

    /// Everything in memory is gone; the disk is as it is, as it was, or empty.
    pub fn crash(&mut self, network: &Network, random: &Random) {
        network.down(&self.name);
        self.life = None;
        let disk = match random.within(0..8) {
            0 => Store::in_memory(),
            1 | 2 => self.older.left_behind(),
            _ => self.store.left_behind(),
        };
        self.older = disk.left_behind();
        self.store = disk;
    }

    /// Steps one of its threads, if one has something to do by now.
    pub fn step(&mut self, random: &Random) {
        let Some(life) = &mut self.life else { return };
        let now = Instant::now();
        let due: Vec<usize> = (0..life.jobs.len()).filter(|at| life.jobs[*at].due <= now).collect();
        if let Some(at) = random.pick(&due) {
            life.step(*at);
        }
        life.adopt();
    }

    /// Steps each of its threads that has something to do by now.
    pub fn step_all(&mut self) {
        let Some(life) = &mut self.life else { return };
        life.adopt();
        for at in (0..life.jobs.len()).rev() {
            if life.jobs[at].due <= Instant::now() {
                life.step(at);
            }
        }
        life.adopt();
    }
}

impl Life {
    fn step(&mut self, at: usize) {
        match self.jobs[at].work.step(Duration::ZERO) {
            Next::Now => {}
            Next::After(pause) => self.jobs[at].due = Instant::now() + pause,
            Next::Done => drop(self.jobs.remove(at)),
        }
    }

    /// Threads that were begun meanwhile.
    fn adopt(&mut self) {
        let begun = std::mem::take(&mut *self.begun.lock());
        self.jobs.extend(begun.into_iter().map(|work| Job { work, due: Instant::now() }));
    }
}
