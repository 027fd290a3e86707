//! Connections that are cut in the middle of anything, as when a projector or a server is killed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lonja_projections::{Stores, Views};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep};

use crate::folding::seed;
use crate::history::History;
use crate::homes::{Home, Scene};
use crate::running::{PATIENCE, Running, assert_right};

/// How many connections are cut.
const CUTS: usize = 30;

/// While the views are projected through a relay, all connections are cut again and again, at random moments.
pub async fn cut_connections_lose_and_double_nothing(scene: &Scene) {
    let relay = Relay::start(scene).await;
    let stores = Stores::new(&scene.home.at(relay.url.clone())).await.unwrap();
    let views = Views::among(&stores);
    let mut history = History::new(seed());
    let mut random = history.random.clone();
    // Something for every view, however soon there were enough cuts.
    history.go_on(100);
    let running = Running::start(&views, &history, 5).await;
    let deadline = Instant::now() + PATIENCE;
    let mut cut = 0;
    while cut < CUTS && Instant::now() < deadline {
        history.go_on(3);
        sleep(Duration::from_millis(random.below(40))).await;
        if random.below(4) == 0 {
            cut += relay.cut();
        }
    }
    running.reach_end(&history).await;
    running.stop().await;
    assert!(cut >= CUTS, "only {cut} connections were there to be cut");
    // Not through the relay.
    assert_right(&scene_views(scene, views), &history).await;
}

/// The views of the scene where they live on its server; those in memory as they were projected here.
fn scene_views(scene: &Scene, mut projected: Views) -> Views {
    match scene.home {
        Home::Postgres => {
            projected.order_details = scene.views.order_details.clone();
            projected.order_lists = scene.views.order_lists.clone();
        }
        Home::Mysql => projected.stock_levels = scene.views.stock_levels.clone(),
        Home::Mongo => projected.activities = scene.views.activities.clone(),
        Home::Memory => {}
    }
    projected
}

/// Passes bytes between a store's clients and its server.
struct Relay {
    /// By which clients reach it.
    url: String,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    accepting: JoinHandle<()>,
    _directory: TempDir,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Relay {
    async fn start(scene: &Scene) -> Self {
        let directory = TempDir::new().unwrap();
        let connections = Arc::default();
        let (url, accepting) = match scene.home {
            Home::Mongo => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let url = scene.config.mongo.clone().unwrap();
                let server = url.strip_prefix("mongodb://").and_then(|rest| rest.split('/').next()).unwrap().to_owned();
                let url = url.replacen(&server, &listener.local_addr().unwrap().to_string(), 1);
                (url, tokio::spawn(relay_tcp(listener, server, Arc::clone(&connections))))
            }
            Home::Postgres => {
                let url = scene.config.postgres.clone().unwrap();
                let (real, port) = (after(&url, "host="), between(&url, "localhost:", "/"));
                let name = format!(".s.PGSQL.{port}");
                let listener = UnixListener::bind(directory.path().join(&name)).unwrap();
                let url = url.replacen(&real, directory.path().to_str().unwrap(), 1);
                (url, tokio::spawn(relay_unix(listener, PathBuf::from(real).join(name), Arc::clone(&connections))))
            }
            Home::Mysql => {
                let url = scene.config.mysql.clone().unwrap();
                let real = after(&url, "socket=");
                let socket = directory.path().join("socket");
                let listener = UnixListener::bind(&socket).unwrap();
                let url = url.replacen(&real, socket.to_str().unwrap(), 1);
                (url, tokio::spawn(relay_unix(listener, real.into(), Arc::clone(&connections))))
            }
            Home::Memory => unreachable!("memory has no connections"),
        };
        Self { url, connections, accepting, _directory: directory }
    }

    /// Cuts every connection; answers how many there were.
    fn cut(&self) -> usize {
        let connections = std::mem::take(&mut *self.connections.lock());
        connections
            .iter()
            .filter(|connection| !connection.is_finished())
            .inspect(|connection| connection.abort())
            .count()
    }
}

/// What follows `name` in the query of `url`.
fn after(url: &str, name: &str) -> String {
    between(&format!("{url}&"), name, "&")
}

fn between(text: &str, before: &str, behind: &str) -> String {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{text} has no {before}"));
    rest.split(behind).next().unwrap().to_owned()
}

async fn relay_tcp(listener: TcpListener, server: String, connections: Arc<Mutex<Vec<AbortHandle>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(server.clone());
        connections.lock().push(tokio::spawn(async move { pass(client, server.await.unwrap()).await }).abort_handle());
    }
}

async fn relay_unix(listener: UnixListener, server: PathBuf, connections: Arc<Mutex<Vec<AbortHandle>>>) {
    while let Ok((client, _)) = listener.accept().await {
        let server = UnixStream::connect(server.clone());
        connections.lock().push(tokio::spawn(async move { pass(client, server.await.unwrap()).await }).abort_handle());
    }
}

/// Until either side is gone, which is no matter here.
async fn pass(mut client: impl AsyncRead + AsyncWrite + Unpin, mut server: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
