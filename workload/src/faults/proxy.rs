//! F14: something between shop and broker delays what they say to each other, and loses it.
//!
//! It knows where a message of Kafka's protocol ends, so that it can lose a whole one. A client that missed one would take the
//! next for it, so the connection ends then, as it would where a network fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::Row;
use super::measure::Recovered;
use super::place::Tools;
use super::trial::{Judged, Scene, Trial};
use crate::load::now_ms;
use crate::process::free_address;

/// Largest message that is taken for one.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// While it disturbs, an answer waits so long at most,
const ANSWER_DELAY_MS_MAX: u64 = 150;
/// and a request whose connection ends meanwhile arrives so late at most.
const LATE_MS_MAX: u64 = 3_000;
/// One in so many requests is delayed beyond its connection, and one in so many answers is lost.
const ONE_IN: u64 = 150;
const DISTURBED_FOR: Duration = Duration::from_secs(20);

pub fn rows() -> Vec<Row> {
    vec![Row::new(
        "F14",
        "a proxy delays answers of the broker, loses some, and delivers requests late",
        15.0,
        disturbed,
    )]
}

fn disturbed(tools: &Tools) -> Result<Judged> {
    let runtime = Runtime::new().context("starting a runtime")?;
    let address = free_address()?;
    let proxy = Arc::new(Proxy::default());
    let strike = |_: &Scene| {
        proxy.disturbs.store(true, Ordering::Relaxed);
        std::thread::sleep(DISTURBED_FOR);
        proxy.disturbs.store(false, Ordering::Relaxed);
        let (lost, late) = (proxy.lost.load(Ordering::Relaxed), proxy.late.load(Ordering::Relaxed));
        eprintln!("  {lost} answers were lost, {late} requests came late");
        ensure!(lost > 0 && late > 0, "nothing was lost or late: the fault did not strike");
        Ok(now_ms())
    };
    let prepare = |broker: SocketAddr| {
        let listener = runtime.block_on(TcpListener::bind(address)).context("listening as a proxy")?;
        runtime.spawn(Arc::clone(&proxy).serve(listener, broker));
        Ok(())
    };
    let trial = Trial {
        own: "kafka",
        between: Some((address.port(), &prepare)),
        seconds: 26.0,
        recovered: Recovered::Command,
        strike: &strike,
        ..Trial::default()
    };
    trial.run(tools)
}

#[derive(Default)]
struct Proxy {
    disturbs: AtomicBool,
    messages: AtomicU64,
    lost: AtomicU64,
    late: AtomicU64,
}

impl Proxy {
    async fn serve(self: Arc<Self>, listener: TcpListener, broker: SocketAddr) {
        while let Ok((client, _)) = listener.accept().await {
            // A broker that is away closes the connection, as it would without a proxy.
            if let Ok(server) = TcpStream::connect(broker).await {
                tokio::spawn(Arc::clone(&self).carry(client, server));
            }
        }
    }

    /// Until either side ends, or something is lost.
    async fn carry(self: Arc<Self>, client: TcpStream, server: TcpStream) {
        if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
            return;
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = self.requests(from_client, to_server) => {}
            () = self.answers(from_server, to_client) => {}
        }
    }

    async fn requests(&self, mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf) {
        while let Some(message) = read(&mut from).await {
            if self.draws(0) {
                self.late.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    sleep(Duration::from_millis(LATE_MS_MAX)).await;
                    // The broker may have ended the connection meanwhile.
                    let _ = to.write_all(&message).await;
                    // It closes when the broker has had the time to take it.
                    sleep(Duration::from_secs(1)).await;
                });
                return;
            }
            if to.write_all(&message).await.is_err() {
                return;
            }
        }
    }

    async fn answers(&self, mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf) {
        while let Some(message) = read(&mut from).await {
            if self.disturbs.load(Ordering::Relaxed) {
                let draw = self.messages.load(Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                sleep(Duration::from_millis(draw % ANSWER_DELAY_MS_MAX)).await;
            }
            if self.draws(ONE_IN / 2) {
                self.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if to.write_all(&message).await.is_err() {
                return;
            }
        }
    }

    fn draws(&self, at: u64) -> bool {
        self.messages.fetch_add(1, Ordering::Relaxed) % ONE_IN == at && self.disturbs.load(Ordering::Relaxed)
    }
}

/// One message: its length in four bytes, and so many. `None` when the connection has ended.
async fn read(from: &mut tcp::OwnedReadHalf) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await.ok()?;
    let bytes = usize::try_from(u32::from_be_bytes(length)).ok().filter(|bytes| *bytes <= MESSAGE_BYTES_MAX)?;
    let mut message = vec![0; 4 + bytes];
    message[..4].copy_from_slice(&length);
    from.read_exact(&mut message[4..]).await.ok()?;
    Some(message)
}
