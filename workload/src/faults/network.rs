//! F12: the network between the shop and its broker loses packets, in one direction or both.
//!
//! The row runs on a thread with a network of its own, which all processes that it starts share: packet filters there
//! touch nothing else, and the system takes the network away with its last process.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use super::place::{Tools, text};
use super::trial::{Judged, Scene, Trial};
use super::{Blocked, Row};
use crate::load::now_ms;

/// Longer than the group waits for a sign of life.
const CUT_FOR: Duration = Duration::from_secs(10);

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("F12-both", "shop and broker are cut off from each other for 10 s", 60.0, |tools| {
            apart(tools, &["dport", "sport"])
        }),
        Row::new("F12-requests", "for 10 s nothing reaches the broker, and it can still send", 60.0, |tools| {
            apart(tools, &["dport"])
        }),
        Row::new("F12-answers", "for 10 s nothing comes from the broker, though it gets everything", 60.0, |tools| {
            apart(tools, &["sport"])
        }),
    ]
}

/// Packets with the broker's port as one of `ports` are lost.
fn apart(tools: &Tools, ports: &'static [&'static str]) -> Result<Judged> {
    if !geteuid().is_root() {
        return Err(Blocked("a network of its own needs root".to_owned()).into());
    }
    if Command::new("nft").arg("--version").output().is_err() {
        return Err(Blocked("nft (package nftables) is not installed".to_owned()).into());
    }
    let tools = tools.clone();
    let row = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).context("making a network")?;
        run("ip", &["link", "set", "lo", "up"])?;
        let strike = |scene: &Scene| {
            let broker = scene.servers()?.address("LONJA_KAFKA")?;
            let port = broker.rsplit(':').next().context("an address has a port")?;
            lose(ports, port)?;
            sleep(CUT_FOR);
            run("nft", &["delete", "table", "inet", "lonja"])?;
            Ok(now_ms())
        };
        let own = "kafka,registry,postgres,mysql,mongo";
        Trial { own, seconds: 20.0, strike: &strike, ..Trial::default() }.run(&tools)
    });
    row.join().unwrap_or_else(|_| bail!("the row's thread panicked"))
}

fn lose(ports: &[&str], port: &str) -> Result<()> {
    run("nft", &["add", "table", "inet", "lonja"])?;
    run("nft", &["add", "chain", "inet", "lonja", "out", "{ type filter hook output priority 0 ; }"])?;
    ports.iter().try_for_each(|side| run("nft", &["add", "rule", "inet", "lonja", "out", "tcp", side, port, "drop"]))
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let done = Command::new(program).args(arguments).output().with_context(|| format!("starting {program}"))?;
    ensure!(done.status.success(), "{program} {arguments:?}: {}", text(&done));
    Ok(())
}
