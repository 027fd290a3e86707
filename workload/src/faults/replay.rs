//! Views are built anew while something is killed: the projector with its process, the broker, a database.

use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::Row;
use super::measure::Recovered;
use super::place::{self, Tools};
use super::trial::{Judged, Scene, Trial};
use crate::load::now_ms;

/// One view of each store.
const VIEWS: [&str; 3] = ["order_detail", "stock_level", "activity_feed"];
/// Events a second of a replay: slow enough to be struck in the middle of it.
const RATE: &str = "100";
/// How long a replay may take that was struck.
const PATIENCE: Duration = Duration::from_secs(90);

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("F30-process", "a process is killed while it builds views anew", 11.0, |tools| {
            run(tools, "", 14.0, &|scene| scene.shop().signal(Signal::SIGKILL))
        })
        .quick(),
        Row::new("F30-broker", "the only broker is killed while views are built anew", 23.0, |tools| {
            run(tools, "kafka", 14.0, &|scene| bounce(scene, "kafka"))
        }),
        Row::new("F30-databases", "each database is killed while views are built anew", 30.0, |tools| {
            run(tools, "postgres,mysql,mongo", 30.0, &|scene| {
                ["postgres", "mysql", "mongo"].iter().try_for_each(|server| bounce(scene, server))
            })
        }),
    ]
}

fn bounce(scene: &Scene, server: &str) -> Result<()> {
    scene.servers()?.kill(server)?;
    sleep(Duration::from_secs(1));
    scene.servers()?.start_again(server)
}

fn run(tools: &Tools, own: &str, seconds: f64, kill: &dyn Fn(&Scene) -> Result<()>) -> Result<Judged> {
    let strike = |scene: &Scene| {
        for view in VIEWS {
            done(scene, &["replay", "start", view, "--rate", RATE])?;
        }
        let begun = |row: &Value| row["records"].as_u64() > Some(0) && row["state"] != "live";
        for view in VIEWS {
            wait(scene, view, begun)?;
        }
        kill(scene)?;
        Ok(now_ms())
    };
    let recovered = Recovered::Command;
    Trial { own, seconds, recovered, strike: &strike, after: &promoted, ..Trial::default() }.run(tools)
}

/// Each replay goes on by itself, is what the log says, and takes the place of the former generation, which goes. The
/// verifier then finds the view where the pointer leads.
fn promoted(scene: &Scene) -> Result<Vec<String>> {
    scene.shop().wait_until_ready()?;
    let mut found = Vec::new();
    for view in VIEWS {
        let row = wait(scene, view, |row| row["state"] != "live" && row["lag_events"] == 0)?;
        let generation = row["generation"].to_string();
        for verb in ["verify", "promote"] {
            let told = operate(scene, &["replay", verb, view, &generation])?;
            if !told.status.success() {
                found.push(format!("I9: {verb} of {view}: {}", place::text(&told)));
            }
        }
    }
    Ok(found)
}

/// Waits for a generation of `view` that is as wanted.
fn wait(scene: &Scene, view: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let told = lonja(scene, &["replay", "status", view, "--json"]).output().context("asking for the status")?;
        let list: Option<Value> = serde_json::from_slice(&told.stdout).ok();
        let rows = list.as_ref().and_then(|list| list["data"].as_array());
        if let Some(row) = rows.and_then(|rows| rows.iter().find(|row| wanted(row))) {
            return Ok(row.clone());
        }
        if begun.elapsed() > PATIENCE {
            bail!("{view} does not come on: {}", place::text(&told));
        }
        sleep(Duration::from_millis(200));
    }
}

fn done(scene: &Scene, arguments: &[&str]) -> Result<Output> {
    let told = operate(scene, arguments)?;
    ensure!(told.status.success(), "lonja {}: {}", arguments.join(" "), place::text(&told));
    Ok(told)
}

fn operate(scene: &Scene, arguments: &[&str]) -> Result<Output> {
    let mut command = lonja(scene, arguments);
    command.args(["--reason", "a test of faults"]).output().context("asking the operators' API")
}

/// A verb of operators.
fn lonja(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = scene.place.command("lonja");
    command.args(arguments).args(["--operators", &format!("http://{}", scene.shop().operators)]);
    command
}
