//! The stores, and where a view finds its own.

pub mod memory;
pub mod mongo;
pub mod mysql;
pub mod postgres;

use std::path::PathBuf;

use eventlog::{Checkpoint, Partition};
use mongodb::Database;
use schemas::topics;
use sqlx::{MySqlPool, PgPool};

use self::memory::{MemoryStore, MemoryView};
use crate::generations::{Generations, Notes};
use crate::parking::Parking;
use crate::store::{Checkpoints, Commit, Kind, Reflects, Store, StoreError, Visit};
use crate::view::View;

/// Where the stores are. A view whose store is not given lives in memory.
#[derive(Debug, Clone, Default)]
pub struct StoresConfig {
    /// `postgres://…`.
    pub postgres: Option<String>,
    /// `mysql://…`, of MySQL 8 or MariaDB 10.6 and later.
    pub mysql: Option<String>,
    /// `mongodb://…`, of a replica set; the path names the database (`lonja` without).
    pub mongo: Option<String>,
    /// In which directory views in memory keep what operators decided of their parked events; without one, that lasts as long
    /// as the process.
    pub resolutions: Option<PathBuf>,
}

/// Connections to the stores that are configured. They are made when first used: a store that is down is no obstacle
/// to a start.
#[derive(Clone, Default)]
pub struct Stores {
    /// PostgreSQL.
    pub postgres: Option<PgPool>,
    /// MySQL or MariaDB.
    pub mysql: Option<MySqlPool>,
    /// MongoDB.
    pub mongo: Option<Database>,
    /// As configured.
    pub resolutions: Option<PathBuf>,
}

impl Stores {
    /// Reads the addresses; connects to nothing yet.
    ///
    /// # Errors
    /// When an address is not one.
    pub async fn new(config: &StoresConfig) -> Result<Self, StoreError> {
        let mongo = match &config.mongo {
            Some(url) => Some(mongo::connect(url).await?),
            None => None,
        };
        Ok(Self {
            postgres: config.postgres.as_deref().map(postgres::connect).transpose()?,
            mysql: config.mysql.as_deref().map(mysql::connect).transpose()?,
            mongo,
            resolutions: config.resolutions.clone(),
        })
    }
}

/// A store on a server.
pub trait ServerStore<V: View>: Store<V> {
    /// The store of `V` among `stores`, if it is configured.
    fn among(stores: &Stores) -> Option<Self>;
}

/// A view's home: its server, or memory where that is not configured.
#[derive(Clone)]
pub enum Placed<V: MemoryView, S> {
    /// In this process.
    Memory(MemoryStore<V>),
    /// On its server.
    Server(S),
}

impl<V: MemoryView, S: ServerStore<V>> Placed<V, S> {
    /// The home of `V` among `stores`.
    #[must_use]
    pub fn among(stores: &Stores) -> Self {
        let memory = || stores.resolutions.as_deref().map_or_else(MemoryStore::default, MemoryStore::kept_in);
        S::among(stores).map_or_else(|| Self::Memory(memory()), Self::Server)
    }
}

impl<V: MemoryView, S: Store<V>> Store<V> for Placed<V, S> {
    fn kind(&self) -> Kind {
        match self {
            Self::Memory(store) => store.kind(),
            Self::Server(store) => store.kind(),
        }
    }

    async fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        match self {
            Self::Memory(store) => store.checkpoints().await,
            Self::Server(store) => store.checkpoints().await,
        }
    }

    async fn open(&self) -> Result<Checkpoints, StoreError> {
        match self {
            Self::Memory(store) => store.open().await,
            Self::Server(store) => store.open().await,
        }
    }

    async fn load(&self, keys: &[V::Key]) -> Result<Vec<V>, StoreError> {
        match self {
            Self::Memory(store) => store.load(keys).await,
            Self::Server(store) => store.load(keys).await,
        }
    }

    async fn commit(&self, commit: Commit<V>) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.commit(commit).await,
            Self::Server(store) => store.commit(commit).await,
        }
    }

    async fn scan(&self, after: Option<&V::Key>, most: usize, visit: Visit<'_, V>) -> Result<Reflects, StoreError> {
        match self {
            Self::Memory(store) => store.scan(after, most, visit).await,
            Self::Server(store) => store.scan(after, most, visit).await,
        }
    }

    fn parking(&self) -> &dyn Parking {
        match self {
            Self::Memory(store) => store.parking(),
            Self::Server(store) => store.parking(),
        }
    }

    fn generation(&self) -> u32 {
        match self {
            Self::Memory(store) => store.generation(),
            Self::Server(store) => store.generation(),
        }
    }

    fn numbered(&self, generation: u32) -> Self {
        match self {
            Self::Memory(store) => Self::Memory(store.numbered(generation)),
            Self::Server(store) => Self::Server(store.numbered(generation)),
        }
    }

    fn generations(&self) -> &dyn Generations {
        match self {
            Self::Memory(store) => store.generations(),
            Self::Server(store) => store.generations(),
        }
    }
}

/// A checkpoint as a store keeps it, with what it belongs to. One that never moved counts for nothing.
fn checkpoint_of<V: View>(topic: &str, number: i32, checkpoint: Checkpoint) -> Option<(Partition, Checkpoint)> {
    let topic = topics::by_name(topic).filter(|topic| V::TOPICS.contains(topic))?;
    let partition = Partition { topic, number: u32::try_from(number).ok()? };
    (checkpoint.next > 0).then_some((partition, checkpoint))
}

/// Notes as a store keeps them.
fn notes_text(notes: &Notes) -> String {
    serde_json::to_string(notes).expect("texts and numbers")
}

fn notes_of(text: &str) -> Result<Notes, serde_json::Error> {
    serde_json::from_str(text)
}
