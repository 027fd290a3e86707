//! `lonja serve`: the whole shop in one process. This page is its composition.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use commands::{Commands, Options};
use domain::order::Order;
use domain::stock::StockItem;
use eventlog::{EventLog, LogError, Partition};
use gateway::{Floor, GatewayState};
use projections::{Progress, Projections, ViewState};
use runtime::config::TelemetryConfig;
use runtime::shutdown::CancellationToken;
use runtime::{Config, Health, Telemetry};
use schemas::topics;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::log::{self, Opened, blocking};
use crate::{Failure, start_lines, views};

/// The group of the owners.
const GROUP: &str = "lonja.owners";

/// How often a starting process is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(20);

/// Runs the shop until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub fn run(config: &Config, telemetry: &TelemetryConfig) -> Result<(), Failure> {
    config.validate().map_err(Failure::Config)?;
    let telemetry = Telemetry::init(telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let stop = runtime::shutdown::on_signal()?;
        let shop = Shop::start(config, &telemetry).await?;
        say(&start_lines::places(config, shop.address));
        tokio::select! {
            () = shop.ready() => say(&start_lines::first_sale(shop.address)),
            () = stop.cancelled() => {}
        }
        stop.cancelled().await;
        shop.stop().await
    });
    telemetry.flush();
    served
}

/// Tells whoever started it. Nobody may be listening: that is no reason to end.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output is closed");
    }
}

/// A running shop.
pub struct Shop {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<GatewayState>,
    server: JoinHandle<()>,
    projections: Projections,
    stop_requests: CancellationToken,
    commands: Arc<Commands>,
}

impl Shop {
    /// Starts every role. Returns when requests are accepted; [`Self::ready`] says when they can all be answered.
    ///
    /// # Errors
    /// When a part cannot start. Others may run already: the process is to end.
    pub async fn start(config: &Config, telemetry: &Telemetry) -> Result<Self, Failure> {
        config.validate().map_err(Failure::Config)?;
        describe_metrics();
        let Opened { log, codec } = log::open(config).await?;
        views::check_at_start(&config.stores).await?;
        let listen = config.http.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen} failed"))?;
        let address = listener.local_addr()?;

        let ends = {
            let log = Arc::clone(&log);
            blocking(move || ends(log.as_ref())).await?
        };
        let stores = views::config(&config.stores);
        let views = projections::start(&stores, Arc::clone(&log), Arc::clone(&codec), CancellationToken::new()).await?;

        let options = Options {
            state_dir: config.node.data.join("state"),
            node: config.node.node.clone(),
            lanes: u32::try_from(config.commands.lanes).unwrap_or(u32::MAX),
            queue_max: config.commands.queue_max,
        };
        let (commands, orders, stock) = blocking(move || {
            let mut commands = Commands::open(log, codec, options)?;
            let orders = commands.serve::<Order>()?;
            let stock = commands.serve::<StockItem>()?;
            commands.join(GROUP)?;
            Ok::<_, commands::router::StartError>((Arc::new(commands), orders, stock))
        })
        .await?;

        let state = Arc::new(GatewayState {
            orders,
            stock,
            commands: Arc::clone(&commands),
            floor: Floor::new(ends, views::in_memory(&views.views)),
            health: health(&commands, &views.progress),
            views: views.views.clone(),
            progress: views.progress.clone(),
            metrics: telemetry.metrics.clone(),
            traces: telemetry.traces(),
            limits: config.http.clone(),
        });
        let stop_requests = CancellationToken::new();
        let server = gateway::serve(listener, Arc::clone(&state), stop_requests.clone().cancelled_owned());
        let server = tokio::spawn(server);
        Ok(Self { address, state, server, projections: views, stop_requests, commands })
    }

    /// Waits until every part is ready.
    pub async fn ready(&self) {
        while !self.state.health.report().ready {
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// Stops: no new connections, requests in flight end, owners step down and write their state, views stop.
    ///
    /// # Errors
    /// When a part failed on the way; the others are stopped all the same.
    pub async fn stop(self) -> Result<(), Failure> {
        let Self { state, server, projections, stop_requests, commands, .. } = self;
        stop_requests.cancel();
        let served = server.await.context("serving failed");
        drop(state);
        let stepped_down = blocking(move || {
            let mut commands = Arc::into_inner(commands).context("somebody still uses the command side")?;
            commands.stop();
            Ok::<_, anyhow::Error>(())
        })
        .await;
        projections.stop().await;
        served?;
        stepped_down
    }
}

fn describe_metrics() {
    gateway::metrics::describe();
    commands::metrics::describe();
    eventlog::metrics::describe();
}

/// The offset after the last record of each partition.
fn ends(log: &dyn EventLog) -> Result<Vec<(Partition, u64)>, LogError> {
    topics::ALL.iter().copied().flat_map(Partition::all).map(|partition| Ok((partition, log.end(partition)?))).collect()
}

fn health(commands: &Arc<Commands>, progress: &Progress) -> Health {
    // Health is asked through the state that the routes share, which must not keep the command side alive.
    let commands = Arc::downgrade(commands);
    let owners = move || match commands.upgrade() {
        Some(commands) if commands.ready() => Ok(()),
        Some(_) => Err("not every assigned partition has a running owner".to_owned()),
        None => Err("stopping".to_owned()),
    };
    let mut health = Health::default().with("commands", Box::new(owners));
    for (view, _) in progress.states() {
        let progress = progress.clone();
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
