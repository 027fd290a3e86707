use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::gauge;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::CONNECTIONS;
use crate::{GatewayState, routes};

/// Most bytes of headers (and of a body's read-ahead) that a connection keeps.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// How long to wait before accepting again when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 on `listener` until `shutdown` ends; then accepts nothing more and lets the requests in flight end,
/// up to the limit of the settings. When it returns, nobody holds `state` any more.
///
/// HTTP/1.1 alone: between a proxy and this process HTTP/2 gains nothing, and hyper's detection of it would let a
/// connection stand for ever before its first byte.
pub async fn serve(listener: TcpListener, state: Arc<GatewayState>, shutdown: impl Future<Output = ()>) {
    let limits = state.limits.clone();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(BUFFER_BYTES_MAX);
    let app = routes::routes(state);
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let (graceful, tasks, cut) = (GracefulShutdown::new(), TaskTracker::new(), CancellationToken::new());
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            (stream, permit) = accept(&listener, &connections) => {
                let connection = connection(stream, http.clone(), app.clone(), graceful.watcher(), permit);
                let cut = cut.clone();
                tasks.spawn(async move { cut.run_until_cancelled_owned(connection).await });
            }
        }
    }
    drop(listener);
    if timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        let seconds = limits.drain_timeout.as_secs_f64();
        tracing::warn!(seconds, "some requests did not end in time and are cut off");
        cut.cancel();
    }
    tasks.close();
    tasks.wait().await;
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(connections).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            // The caller gave up before we came to it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    http: http1::Builder,
    app: Router,
    watcher: Watcher,
    permit: OwnedSemaphorePermit,
) {
    // Answers are one write each: waiting to send more at a time would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before it began");
        return;
    }
    let _open = Open::new();
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection broke");
    }
    drop(permit);
}

/// Counts a connection while it lives, however it ends.
struct Open;

impl Open {
    fn new() -> Self {
        gauge!(CONNECTIONS).increment(1);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1);
    }
}
