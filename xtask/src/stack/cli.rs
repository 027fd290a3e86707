//! `cargo xtask stack …`.

use anyhow::{Result, ensure};
use clap::Subcommand;
use serde::Serialize;

use super::instance::{ALL, Instance};
use super::ports::Ports;
use super::process::memory_mib;
use super::server::{Kind, READY_LIMIT, Server, State};
use super::urls::Urls;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// Which set of servers: `dev`, `test`, or one of your own
    #[arg(long, global = true, default_value = "dev")]
    instance: String,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what is missing, start what is down, and say how to reach it
    Up {
        /// For an instance of your own: its first port. 0 takes ports that are free now
        #[arg(long)]
        port_base: Option<u16>,
        /// For an instance of your own: only these servers
        #[arg(long, value_delimiter = ',', requires = "port_base")]
        only: Vec<Kind>,
        /// For an instance of your own: how many brokers, 1 or 3
        #[arg(long, default_value_t = 1, requires = "port_base")]
        brokers: u16,
        /// For one broker of your own: clients are sent to this port of 127.0.0.1, where something stands between
        #[arg(long, requires = "port_base")]
        advertise: Option<u16>,
    },
    /// Stop the servers, keep their data
    Down,
    /// Stop the servers, delete their data
    Reset,
    /// Say what runs; fails unless everything serves
    Status {
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Print the addresses as shell lines: eval "$(cargo xtask stack env)"
    Env,
    /// Start one server
    Start { server: String },
    /// Stop one server in an orderly way
    Stop { server: String },
    /// Kill one server as a power cut would (SIGKILL)
    Kill { server: String },
    /// Freeze one server (SIGSTOP)
    Pause { server: String },
    /// Let a frozen server go on
    Resume { server: String },
}

/// Runs the sub-command.
pub fn run(args: Args) -> Result<()> {
    let instance = match &args.verb {
        Verb::Up { port_base: Some(base), only, brokers, advertise } => {
            custom(&args.instance, *base, only, *brokers, *advertise)?
        }
        _ => Instance::load(&args.instance)?,
    };
    match args.verb {
        Verb::Up { .. } => up(&instance),
        Verb::Down => instance.down(),
        Verb::Reset => instance.reset(),
        Verb::Status { json } => status(&instance, json),
        Verb::Env => {
            print_env(&instance.urls(), "export ");
            Ok(())
        }
        Verb::Start { server } => {
            let server = instance.server(&server)?;
            server.start()?;
            server.wait_ready(READY_LIMIT)
        }
        Verb::Stop { server } => instance.server(&server)?.stop(),
        Verb::Kill { server } => instance.server(&server)?.kill9(),
        Verb::Pause { server } => instance.server(&server)?.pause(),
        Verb::Resume { server } => instance.server(&server)?.resume(),
    }
}

fn custom(name: &str, base: u16, only: &[Kind], brokers: u16, advertise: Option<u16>) -> Result<Instance> {
    ensure!(advertise.is_none() || brokers == 1, "only one broker can be advertised elsewhere");
    let ports = if base == 0 { Ports::free(brokers)? } else { Ports::from_base(base, brokers)? };
    let ports = Ports { advertised: advertise, ..ports };
    Instance::custom(name, if only.is_empty() { &ALL } else { only }, ports)
}

fn up(instance: &Instance) -> Result<()> {
    let urls = instance.up()?;
    print_table(&instance.servers.iter().map(Row::of).collect::<Vec<_>>());
    println!("\nIts environment, also in {}:\n", instance.env_file().display());
    print_env(&urls, "");
    Ok(())
}

fn status(instance: &Instance, json: bool) -> Result<()> {
    let rows: Vec<Row> = instance.servers.iter().map(Row::of).collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print_table(&rows);
    }
    ensure!(rows.iter().all(|row| row.state == State::Ready), "not everything serves in instance `{}`", instance.name);
    Ok(())
}

fn print_env(urls: &Urls, prefix: &str) {
    for (name, value) in urls.variables() {
        println!("{prefix}{name}='{value}'");
    }
}

/// What `status` says about a server.
#[derive(Serialize)]
struct Row {
    name: String,
    port: u16,
    pid: Option<i32>,
    state: State,
    memory_mib: Option<u64>,
    log: String,
}

impl Row {
    fn of(server: &Server) -> Self {
        let pid = server.pid();
        Self {
            name: server.name.clone(),
            port: server.port(),
            pid,
            state: server.state(),
            memory_mib: pid.and_then(memory_mib),
            log: server.log().display().to_string(),
        }
    }
}

fn print_table(rows: &[Row]) {
    println!("{:<9} {:>5} {:>8} {:<8} {:>5}  log", "name", "port", "pid", "state", "MiB");
    for row in rows {
        let number = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let state = format!("{:?}", row.state).to_lowercase();
        let (pid, memory) =
            (number(row.pid.map(|pid| pid.to_string())), number(row.memory_mib.map(|mib| mib.to_string())));
        println!("{:<9} {:>5} {:>8} {:<8} {:>5}  {}", row.name, row.port, pid, state, memory, row.log);
    }
}
