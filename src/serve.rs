//! Runs a role in this process until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;

use runtime::Telemetry;
use runtime::config::TelemetryConfig;

use crate::roles::Parts;
use crate::shop::Shop;
use crate::{Failure, start_lines};

/// Runs `parts` as `role`, the subcommand.
///
/// # Errors
/// When it cannot start.
pub fn run(role: &'static str, parts: &Parts<'_>, telemetry: &TelemetryConfig) -> Result<(), Failure> {
    parts.validate(role).map_err(Failure::Config)?;
    let telemetry = Telemetry::init(telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let stop = runtime::shutdown::on_signal()?;
        let shop = Shop::start_parts(parts, &telemetry).await?;
        say(&start_lines::places(role, parts, &shop));
        tokio::select! {
            () = shop.ready() => say(&ready(parts, shop.address)),
            () = stop.cancelled() => {}
        }
        stop.cancelled().await;
        shop.stop().await
    });
    telemetry.flush();
    served
}

fn ready(parts: &Parts<'_>, address: SocketAddr) -> String {
    if parts.http.is_some() { start_lines::first_sale(address) } else { "ready".to_owned() }
}

/// Tells whoever started it. Nobody may be listening: that is no reason to end.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        tracing::debug!(%error, "standard output is closed");
    }
}
