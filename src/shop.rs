//! The parts of a process, put together. This page is its composition.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cluster::Cluster;
use commands::peers::Alone;
use commands::{Commands, Local, Lookups, Options, Peers, Router};
use domain::order::Order;
use domain::stock::StockItem;
use eventlog::shared::Tap;
use eventlog::{EventLog, LogError, Partition};
use gateway::{Floor, GatewayState, Operations};
use operators::log::Surveys;
use operators::{AskOwners, Audit, Operators};
use projections::{Folds, Progress, Projections, ViewState, Views};
use runtime::config::{CommandsConfig, NodeConfig, StoresConfig};
use runtime::shutdown::CancellationToken;
use runtime::{Config, Health, Telemetry};
use schemas::{Codec, topics};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cli::Context;
use crate::log::{self, Opened, blocking};
use crate::roles::Parts;
use crate::{Failure, owners, views};

/// The group of the owners.
const GROUP: &str = "lonja.owners";

/// How often a starting process is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(20);

/// A running process.
pub struct Shop {
    /// Where the public API listens; where there is none, where operators are answered.
    pub address: SocketAddr,
    /// Where other nodes and operators are answered, if anywhere.
    pub cluster: Option<SocketAddr>,
    /// Where the operators' API listens, if anywhere.
    pub operators: Option<SocketAddr>,
    operations: Operations,
    servers: Vec<JoinHandle<std::io::Result<()>>>,
    projections: Option<Projections>,
    stop_requests: CancellationToken,
    commands: Option<Arc<Commands>>,
    peers: Option<Arc<Cluster>>,
}

/// What the parts have in common.
struct Base {
    log: Arc<dyn EventLog>,
    codec: Arc<Codec>,
    peers: Arc<dyn Peers>,
    tap: Tap,
}

impl Shop {
    /// Starts every role; see [`Self::start_parts`].
    ///
    /// # Errors
    /// When a part cannot start.
    pub async fn start(config: &Config, telemetry: &Telemetry) -> Result<Self, Failure> {
        Self::start_parts(&Parts::all(config), telemetry).await
    }

    /// Starts `parts`. Returns when requests are accepted; [`Self::ready`] says when they can all be answered.
    ///
    /// # Errors
    /// When a part cannot start. Others may run already: the process is to end.
    pub async fn start_parts(parts: &Parts<'_>, telemetry: &Telemetry) -> Result<Self, Failure> {
        describe_metrics();
        let Opened { log, codec } = log::open(parts.node, parts.log).await?;
        if let Some((stores, _)) = &parts.views {
            views::check_at_start(stores).await?;
        }
        let public = listen(parts.http.map(|http| http.listen)).await?;
        let inner = listen(parts.cluster.map(|cluster| cluster.cluster_listen)).await?;
        let own = inner.as_ref().map(|(_, address)| *address);
        let operating = listen(parts.operators.map(|operators| operators.operators_listen)).await?;
        let operated = operating.as_ref().map(|(_, address)| *address);

        let cluster = join_cluster(parts, &log, own).await?;
        let peers = cluster.clone().map_or_else(|| Arc::new(Alone) as Arc<dyn Peers>, |cluster| cluster);
        let base = Base { log, codec, peers, tap: Tap::default() };
        let ends = ends_for_floor(&base, parts).await?;
        let projections = match &parts.views {
            Some((stores, folds)) => Some(start_views(&base, parts.node, stores, folds).await?),
            None => None,
        };
        let (commands, orders, stock) = start_commands(&base, parts).await?;
        let local = commands.as_ref().map(|commands| commands.local());

        let health = health(commands.as_ref(), cluster.as_ref(), projections.as_ref().map(|views| &views.progress));
        let operations = Operations { health: Arc::new(health), metrics: telemetry.metrics.clone() };
        let stop_requests = CancellationToken::new();
        let mut servers = Vec::new();
        if let Some((listener, _)) = inner {
            let mut routes = gateway::operations(operations.clone());
            if let Some(local) = &local {
                routes = routes.merge(cluster::server::routes(local.clone()));
            }
            servers.push(tokio::spawn(cluster::server::serve(listener, routes, stop_requests.clone())));
        }
        if let (Some((listener, _)), Some(views)) = (operating, &projections) {
            let state = operators(&base, views, owners(parts, &base, cluster.as_ref(), local.as_ref()));
            servers.push(tokio::spawn(operators::serve(listener, state, stop_requests.clone())));
        }
        let address = public.as_ref().map(|(_, address)| *address).or(own);
        let address = address.context("a process without a listener")?;
        if let (Some((listener, _)), Some(http), Some(views)) = (public, parts.http, &projections) {
            let state = Arc::new(GatewayState {
                orders,
                stock,
                commands: Lookups { local, peers: base.peers },
                floor: Floor::new(ends, views::in_memory(&views.views).await),
                operations: operations.clone(),
                views: Views::clone(&views.views),
                progress: views.progress.clone(),
                traces: telemetry.traces(),
                limits: http.clone(),
            });
            let served = gateway::serve(listener, state, stop_requests.clone().cancelled_owned());
            servers.push(tokio::spawn(async {
                served.await;
                Ok(())
            }));
        }
        let (cluster, peers, operators) = (own, cluster, operated);
        Ok(Self { address, cluster, operators, operations, servers, projections, stop_requests, commands, peers })
    }

    /// Waits until every part is ready.
    pub async fn ready(&self) {
        while !self.operations.health.report().ready {
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// Stops: no new connections, requests in flight end, owners step down and write their state, views stop.
    ///
    /// # Errors
    /// When a part failed on the way; the others are stopped all the same.
    pub async fn stop(self) -> Result<(), Failure> {
        let Self { operations, servers, projections, stop_requests, commands, peers, .. } = self;
        stop_requests.cancel();
        let mut served = Ok(());
        for server in servers {
            let ended = server.await.context("serving failed").and_then(|served| served.context("serving failed"));
            served = served.and(ended);
        }
        drop(operations);
        let stepped_down = blocking(move || {
            if let Some(commands) = commands {
                let mut commands = Arc::into_inner(commands).context("somebody still uses the command side")?;
                commands.stop();
            }
            drop(peers);
            Ok::<_, anyhow::Error>(())
        })
        .await;
        if let Some(projections) = projections {
            projections.stop().await;
        }
        served?;
        stepped_down
    }
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<(TcpListener, SocketAddr)>, Failure> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address} failed"))?;
    let bound = listener.local_addr()?;
    Ok(Some((listener, bound)))
}

/// On Kafka a process knows the other nodes; one that owns partitions tells them its address.
async fn join_cluster(
    parts: &Parts<'_>,
    log: &Arc<dyn EventLog>,
    bound: Option<SocketAddr>,
) -> Result<Option<Arc<Cluster>>, Failure> {
    if parts.log.kafka.is_none() {
        return Ok(None);
    }
    let told = parts.cluster.and_then(|cluster| cluster.cluster_address.clone());
    let address = told.or_else(|| bound.map(|bound| bound.to_string())).filter(|_| parts.commands.is_some());
    let (log, node) = (Arc::clone(log), parts.node.node.clone());
    let joined = blocking(move || Cluster::join(&log, &node, address.as_deref())).await?;
    Ok(Some(Arc::new(joined)))
}

async fn start_views(
    base: &Base,
    node: &NodeConfig,
    stores: &StoresConfig,
    folds: &Folds,
) -> Result<Projections, Failure> {
    let (log, codec) = (Arc::clone(&base.log), Arc::clone(&base.codec));
    let resolutions = Some(node.data.join("resolutions"));
    let stores = projections::StoresConfig { resolutions, ..views::config(stores) };
    let tap = base.tap.clone();
    Ok(projections::start(&stores, log, codec, folds.clone(), tap, CancellationToken::new()).await?)
}

fn operators(base: &Base, projections: &Projections, owners: AskOwners) -> Operators {
    Operators {
        log: Arc::clone(&base.log),
        codec: Arc::clone(&base.codec),
        views: Views::clone(&projections.views),
        progress: projections.progress.clone(),
        lags: projections.lags.clone(),
        owners,
        surveys: Surveys::default(),
        audit: Audit::new(Arc::clone(&base.log)),
    }
}

/// How this process knows who owns what.
fn owners(parts: &Parts<'_>, base: &Base, cluster: Option<&Arc<Cluster>>, local: Option<&Local>) -> AskOwners {
    let (node, log) = (parts.node.node.clone(), Arc::clone(&base.log));
    let (cluster, local) = (cluster.cloned(), local.cloned());
    Box::new(move || {
        let (node, log, cluster, local) = (node.clone(), Arc::clone(&log), cluster.clone(), local.clone());
        Box::pin(async move {
            let owners = match (cluster, local) {
                (Some(cluster), _) => owners::announced(&cluster, log).await,
                (None, Some(local)) => owners::of_one(&node, &local, log).await,
                (None, None) => Ok(Vec::new()),
            };
            owners.map_err(|failure| failure.to_string())
        })
    })
}

type Routers = (Option<Arc<Commands>>, Arc<Router<Order>>, Arc<Router<StockItem>>);

async fn start_commands(base: &Base, parts: &Parts<'_>) -> Result<Routers, Failure> {
    let away = || (base.codec.clone(), base.peers.clone());
    let (orders, stock) = (away(), away());
    let (orders, stock) = (Router::to_peers(orders.0, orders.1), Router::to_peers(stock.0, stock.1));
    let mut routers: Routers = (None, Arc::new(orders), Arc::new(stock));
    let Some((config, contexts)) = parts.commands.clone() else { return Ok(routers) };
    let options = options(parts.node, config, base.tap.clone());
    let (log, codec, peers) = (Arc::clone(&base.log), Arc::clone(&base.codec), Arc::clone(&base.peers));
    blocking(move || {
        let mut commands = Commands::open(log, codec, peers, options)?;
        for context in contexts {
            match context {
                Context::Order => routers.1 = commands.serve::<Order>()?,
                Context::Stock => routers.2 = commands.serve::<StockItem>()?,
            }
        }
        commands.join(GROUP)?;
        routers.0 = Some(Arc::new(commands));
        Ok::<_, commands::node::StartError>(routers)
    })
    .await
}

fn options(node: &NodeConfig, commands: &CommandsConfig, tap: Tap) -> Options {
    Options {
        state_dir: node.data.join("state"),
        node: node.node.clone(),
        lanes: u32::try_from(commands.lanes).unwrap_or(u32::MAX),
        queue_max: commands.queue_max,
        states_bytes_max: commands.states_bytes_max,
        warm_copies: commands.warm_copies,
        tap,
    }
}

fn describe_metrics() {
    gateway::metrics::describe();
    commands::metrics::describe();
    eventlog::metrics::describe();
}

/// The offset after the last record of each partition, where a public API may answer from views that are built anew.
async fn ends_for_floor(base: &Base, parts: &Parts<'_>) -> Result<Vec<(Partition, u64)>, Failure> {
    if parts.http.is_none() {
        return Ok(Vec::new());
    }
    let log = Arc::clone(&base.log);
    let every = || topics::ALL.iter().copied().flat_map(Partition::all);
    blocking(move || every().map(|partition| Ok((partition, log.end(partition)?))).collect::<Result<_, LogError>>())
        .await
}

fn health(commands: Option<&Arc<Commands>>, cluster: Option<&Arc<Cluster>>, progress: Option<&Progress>) -> Health {
    let mut health = Health::default();
    if let Some(commands) = commands {
        // Health is asked through the state that the routes share, which must not keep the command side alive.
        let commands = Arc::downgrade(commands);
        let owners = move || match commands.upgrade() {
            Some(commands) if commands.ready() => Ok(()),
            Some(_) => Err("not every assigned partition has a running owner".to_owned()),
            None => Err("stopping".to_owned()),
        };
        health = health.with("commands", Box::new(owners));
    }
    if let Some(cluster) = cluster {
        let directory = Arc::downgrade(cluster.directory());
        let heard = move || match directory.upgrade() {
            Some(directory) if directory.is_caught_up() => Ok(()),
            Some(_) => Err("the announcements of owners are not read yet".to_owned()),
            None => Err("stopping".to_owned()),
        };
        health = health.with("cluster", Box::new(heard));
    }
    for (view, _) in progress.into_iter().flat_map(Progress::states) {
        let progress = progress.cloned().unwrap_or_default();
        health = health.with(view, Box::new(move || view_health(&progress, view)));
    }
    health
}

fn view_health(progress: &Progress, view: &str) -> Result<(), String> {
    match progress.state(view) {
        Some(ViewState::Live) if progress.is_caught_up() => Ok(()),
        Some(ViewState::Live) => Err("the views are catching up with the log".to_owned()),
        Some(ViewState::Starting) | None => Err("it has not read anything yet".to_owned()),
        Some(ViewState::Retrying { reason }) => Err(format!("trying again: {reason}")),
        Some(ViewState::Stopped { reason }) => Err(format!("stopped: {reason}")),
    }
}
