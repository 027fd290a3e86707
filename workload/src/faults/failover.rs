//! A store that comes back with less than it had, as when an asynchronous replica takes over that was behind; and one that is
//! away for long.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Row;
use super::measure::Recovered;
use super::place::{self, Tools};
use super::trial::{Judged, Scene, Trial};
use super::views::{ACTIVITY, COMMANDS_PAUSE_S_MAX, ORDERS, STOCK};
use crate::history::{Attempt, Outcome};
use crate::load::now_ms;

/// How long a store is away: what half an hour would show, in a test's time.
const AWAY: Duration = Duration::from_secs(15);
/// How far the replica is behind.
const BEHIND: Duration = Duration::from_secs(3);

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("F17-postgresql", "PostgreSQL fails over to a replica that lacks 3 s", 30.0, |tools| {
            fails_over(tools, "postgres", ORDERS)
        }),
        Row::new("F17-mysql", "MySQL fails over to a replica that lacks 3 s", 30.0, |tools| {
            fails_over(tools, "mysql", STOCK)
        })
        .quick(),
        Row::new("F17-mongodb", "MongoDB fails over to a replica that lacks 3 s", 30.0, |tools| {
            fails_over(tools, "mongo", ACTIVITY)
        }),
        Row::new("F19-postgresql", "PostgreSQL is away for 15 s", 30.0, |tools| is_away(tools, "postgres", ORDERS)),
        Row::new("F19-mysql", "MySQL is away for 15 s", 30.0, |tools| is_away(tools, "mysql", STOCK)),
        Row::new("F19-mongodb", "MongoDB is away for 15 s", 30.0, |tools| is_away(tools, "mongo", ACTIVITY)),
    ]
}

/// The replica is a copy of the data as they were some seconds before.
fn fails_over(tools: &Tools, server: &str, page: &'static str) -> Result<Judged> {
    let strike = |scene: &Scene| {
        let servers = scene.servers()?;
        let home = servers.directory(server)?;
        servers.stop(server)?;
        run(Command::new("cp").arg("-a").arg(home.join("data")).arg(home.join("replica")))?;
        servers.start_again(server)?;
        sleep(BEHIND);
        servers.kill(server)?;
        take_over(&home)?;
        servers.start_again(server)?;
        Ok(now_ms())
    };
    let recovered = Recovered::Read(page);
    Trial { own: server, seconds: 16.0, recovered, strike: &strike, ..Trial::default() }.run(tools)
}

fn take_over(home: &Path) -> Result<()> {
    std::fs::remove_dir_all(home.join("data")).context("removing what the replica lacks")?;
    std::fs::rename(home.join("replica"), home.join("data")).context("putting the replica in its place")
}

fn run(command: &mut Command) -> Result<()> {
    let done = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(done.status.success(), "{command:?}: {}", place::text(&done));
    Ok(())
}

/// Views in the other stores go on, and so do commands.
fn is_away(tools: &Tools, server: &str, page: &'static str) -> Result<Judged> {
    let went = std::cell::Cell::new(0);
    let strike = |scene: &Scene| {
        let servers = scene.servers()?;
        servers.kill(server)?;
        went.set(now_ms());
        sleep(AWAY);
        let back = now_ms();
        servers.start_again(server)?;
        Ok(back)
    };
    let after = |scene: &Scene| Ok(left_behind(&scene.attempts()?, page, went.get()));
    let recovered = Recovered::Read(page);
    let mut judged =
        Trial { own: server, seconds: 24.0, recovered, strike: &strike, after: &after, ..Trial::default() }
            .run(tools)?;
    if judged.longest_pause_s > COMMANDS_PAUSE_S_MAX {
        let pause = judged.longest_pause_s;
        judged.found.push(format!("I14: no command was answered for {pause} s, only because a store was away"));
    }
    Ok(judged)
}

/// Reads of pages of other stores that failed while one was away; or that there were none to tell.
fn left_behind(attempts: &[Attempt], page: &str, went: i64) -> Vec<String> {
    let until = went + i64::try_from(AWAY.as_millis()).unwrap_or(i64::MAX);
    let meanwhile = |read: &&Attempt| read.is_read() && read.sent_ms > went && read.ended_ms < until;
    let others =
        |read: &&Attempt| [ORDERS, STOCK, ACTIVITY].iter().any(|other| *other != page && read.path.starts_with(other));
    let reads: Vec<_> = attempts.iter().filter(meanwhile).filter(others).collect();
    if reads.len() < 20 {
        return vec![format!("only {} reads of other stores were sent meanwhile", reads.len())];
    }
    let failed = reads.iter().filter(|read| read.outcome != Outcome::Ok);
    failed.map(|read| format!("I14: {} failed because of another store: {}", read.path, read.body)).take(5).collect()
}
