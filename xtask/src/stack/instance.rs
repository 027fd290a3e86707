//! One set of servers with ports and data of its own.

use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::cache::{Cache, gone_is_fine};
use super::install::Tools;
use super::kafka::Kafka;
use super::mongo::Mongo;
use super::mysql::Mysql;
use super::ports::Ports;
use super::postgres::Postgres;
use super::registry::Registry;
use super::server::{Kind, READY_LIMIT, Recipe, Server};
use super::urls::Urls;
use crate::progress::Progress;

/// Every kind of server, in the order people read them.
pub const ALL: [Kind; 5] = [Kind::Kafka, Kind::Registry, Kind::Postgres, Kind::Mysql, Kind::Mongo];

/// What is remembered about an instance beside its data: how to find its servers again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    kinds: Vec<Kind>,
    ports: Ports,
}

/// A set of servers. Nothing runs or exists on disk until `up`.
pub struct Instance {
    pub name: String,
    pub servers: Vec<Server>,
    directory: PathBuf,
    layout: Layout,
    cache: Cache,
    tools: Tools,
}

impl Instance {
    /// An instance of `stack.toml`, or one that was made before.
    pub fn load(name: &str) -> Result<Self> {
        let cache = Cache::open()?;
        let layout = match (Ports::committed(name)?, saved(&cache, name)?) {
            (Some(ports), _) => Layout { kinds: ALL.to_vec(), ports },
            (None, Some(layout)) => layout,
            (None, None) => bail!("no instance `{name}`: it is neither in stack.toml nor was it made with --port-base"),
        };
        Self::new(name, layout, cache)
    }

    /// An instance with other ports or only some servers. A registry brings its database along.
    pub fn custom(name: &str, kinds: &[Kind], ports: Ports) -> Result<Self> {
        ensure!(Ports::committed(name)?.is_none(), "the ports of `{name}` stand in stack.toml");
        let mut kinds = kinds.to_vec();
        if kinds.contains(&Kind::Registry) {
            kinds.push(Kind::Postgres);
        }
        kinds.sort_unstable();
        kinds.dedup();
        Self::new(name, Layout { kinds, ports }, Cache::open()?)
    }

    fn new(name: &str, layout: Layout, cache: Cache) -> Result<Self> {
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        ensure!(!name.is_empty() && name.chars().all(plain), "an instance's name has only a-z, 0-9 and -: `{name}`");
        let (directory, tools) = (cache.data(name), Tools::new(cache.clone()));
        // The system's limit for the path of a unix socket is 107 bytes.
        let longest = directory.join(format!("postgres/socket/.s.PGSQL.{}", u16::MAX));
        ensure!(
            longest.as_os_str().len() <= 107,
            "{} is too long for a unix socket: set LONJA_CACHE",
            longest.display()
        );
        let mut servers = Vec::new();
        for kind in &layout.kinds {
            for (name, recipe) in recipes(*kind, &layout.ports, &tools) {
                let home = directory.join(&name);
                servers.push(Server::new(name, *kind, home, recipe));
            }
        }
        Ok(Self { name: name.to_owned(), servers, directory, layout, cache, tools })
    }

    pub fn urls(&self) -> Urls {
        Urls::new(&self.layout.ports, &self.directory, self.tools.python(), &self.layout.kinds)
    }

    /// The file with the lines of `Urls::variables`.
    pub fn env_file(&self) -> PathBuf {
        self.directory.join("env")
    }

    pub fn server(&self, name: &str) -> Result<&Server> {
        let names = || self.servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>().join(", ");
        self.servers
            .iter()
            .find(|server| server.name == name)
            .with_context(|| format!("instance `{}` has no server `{name}`, only: {}", self.name, names()))
    }

    /// Installs what is missing and starts what is down; when it returns, everything serves.
    pub fn up(&self) -> Result<Urls> {
        self.up_with(&Progress::new())
    }

    pub fn up_with(&self, progress: &Progress) -> Result<Urls> {
        let complete = self.layout.kinds.len() == ALL.len();
        self.tools.install(&self.layout.kinds, complete, progress)?;
        let _lock = self.lock()?;
        self.remember()?;
        // The registry wants its database; everything else starts at the same time.
        let (last, first): (Vec<&Server>, Vec<&Server>) =
            self.servers.iter().partition(|server| server.kind == Kind::Registry);
        for wave in [first, last] {
            at_once(&wave, |server| bring_up(server, progress))?;
        }
        let urls = self.urls();
        let lines: String = urls.variables().into_iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        fs::write(self.env_file(), lines).context("writing the environment file")?;
        Ok(urls)
    }

    /// Stops what runs. The data stays.
    pub fn down(&self) -> Result<()> {
        let _lock = self.lock()?;
        self.stop_all()
    }

    /// Stops what runs and deletes the data.
    pub fn reset(&self) -> Result<()> {
        let _lock = self.lock()?;
        self.stop_all()?;
        // An earlier run may have had other servers under this name.
        if let Some(before) = saved(&self.cache, &self.name)?.filter(|before| *before != self.layout) {
            Self::new(&self.name, before, self.cache.clone())?.stop_all()?;
        }
        gone_is_fine(fs::remove_dir_all(&self.directory))
            .with_context(|| format!("deleting {}", self.directory.display()))
    }

    fn stop_all(&self) -> Result<()> {
        let (first, last): (Vec<&Server>, Vec<&Server>) =
            self.servers.iter().partition(|server| server.kind == Kind::Registry);
        at_once(&first, Server::stop)?;
        at_once(&last, Server::stop)
    }

    /// Data of other ports or servers is refused: MongoDB keeps its own address in its data, and Kafka its peers'.
    fn remember(&self) -> Result<()> {
        if let Some(before) = saved(&self.cache, &self.name)? {
            ensure!(
                before == self.layout,
                "instance `{0}` has data of other ports or servers; to delete it: cargo xtask stack reset --instance {0}",
                self.name
            );
            return Ok(());
        }
        fs::create_dir_all(&self.directory).with_context(|| format!("creating {}", self.directory.display()))?;
        fs::write(layout_file(&self.cache, &self.name), toml::to_string(&self.layout)?).context("writing the layout")
    }

    fn lock(&self) -> Result<fs::File> {
        self.cache.lock(&format!("instance-{}", self.name))
    }
}

fn layout_file(cache: &Cache, name: &str) -> PathBuf {
    cache.data(name).join("layout.toml")
}

fn saved(cache: &Cache, name: &str) -> Result<Option<Layout>> {
    let file = layout_file(cache, name);
    let Ok(text) = fs::read_to_string(&file) else { return Ok(None) };
    toml::from_str(&text).with_context(|| format!("reading {}", file.display())).map(Some)
}

/// The servers of one kind, with their names.
fn recipes(kind: Kind, ports: &Ports, tools: &Tools) -> Vec<(String, Box<dyn Recipe>)> {
    let one = |name: &str, recipe: Box<dyn Recipe>| vec![(name.to_owned(), recipe)];
    match kind {
        Kind::Kafka => (0..ports.kafka.len())
            .map(|index| {
                let name = if ports.kafka.len() == 1 { "kafka".to_owned() } else { format!("kafka{}", index + 1) };
                let recipe = Kafka { index, ports: ports.clone(), jars: tools.kafka_jars() };
                (name, Box::new(recipe) as Box<dyn Recipe>)
            })
            .collect(),
        Kind::Registry => {
            let (port, postgres_port) = (ports.registry, ports.postgres);
            one("registry", Box::new(Registry { port, postgres_port, program: tools.registry() }))
        }
        Kind::Postgres => one("postgres", Box::new(Postgres { port: ports.postgres })),
        Kind::Mysql => one("mysql", Box::new(Mysql { port: ports.mysql })),
        Kind::Mongo => one("mongo", Box::new(Mongo { port: ports.mongo, program: tools.mongod() })),
    }
}

fn bring_up(server: &Server, progress: &Progress) -> Result<()> {
    if server.pid().is_some() {
        return server.wait_ready(READY_LIMIT);
    }
    progress.step(&format!("starting {}", server.name), || {
        server.start()?;
        server.wait_ready(READY_LIMIT)
    })
}

/// Does the same to several servers at the same time and reports every failure.
fn at_once(servers: &[&Server], action: impl Fn(&Server) -> Result<()> + Sync) -> Result<()> {
    let failures: Vec<String> = thread::scope(|scope| {
        let jobs: Vec<_> = servers.iter().map(|server| scope.spawn(|| action(server))).collect();
        jobs.into_iter()
            .filter_map(|job| match job.join() {
                Ok(result) => result.err().map(|error| format!("{error:#}")),
                Err(_) => Some("a thread panicked".to_owned()),
            })
            .collect()
    });
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}
