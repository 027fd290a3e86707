//! The command line.

pub mod parked;
pub mod records;
pub mod replay;
pub mod steps;

use clap::{Args, Parser, Subcommand, ValueEnum};
use runtime::Config;
use runtime::config::{
    ClusterConfig, CommandsConfig, HttpConfig, LogConfig, NodeConfig, OperatorConfig, OperatorsConfig, StoresConfig,
    TelemetryConfig,
};

use self::parked::Parked;
use self::records::{Export, Look};
use self::replay::Replay;
use self::steps::{Check, Cluster, Registry, Step, TopicsApply};

/// A shop's back end in which the log is the truth.
#[derive(Debug, Parser)]
#[command(name = "lonja", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole shop in this process until SIGTERM or SIGINT
    Serve(Box<Config>),
    /// Run the public API alone: commands go to the nodes that own their partitions, views are read where others keep them
    Gateway(Box<Gateway>),
    /// Own partitions and decide, and nothing else
    Commands(Box<Commands>),
    /// Keep views up to date, and nothing else
    Projections(Box<Projections>),
    /// Show which node owns each partition, in which term, and how far it is behind the log
    Owners(Owners),
    /// Show how the shop is: views with their lag, owners with their terms, void records
    Status(Status),
    /// Look at what stands in the log, and whether it counts
    Log {
        /// How.
        #[command(subcommand)]
        look: Look,
    },
    /// Show what operators did, newest first
    Audit(Audit),
    /// Look at events that cannot be applied, and decide what becomes of them
    Parked {
        /// What to do.
        #[command(subcommand)]
        verb: Parked,
    },
    /// Build views anew beside those that readers see, and switch to them
    Replay {
        /// What to do.
        #[command(subcommand)]
        verb: Replay,
    },
    /// Write what happened into Parquet files for analysts: a dataset per type of event, each record once
    ///
    /// Reads the log up to the end that it has now, writes DIRECTORY/TOPIC/TYPE/partition=NN/FIRST-LAST.parquet, and ends. Run
    /// again, into the same directory, it goes on where the last run ended, also where that was killed. Exported is what
    /// counts: events, and the recorded decisions CommandRefused and CommandUnchanged; neither claims nor what is void. A
    /// record that counts but cannot be read stands in TYPE "_unreadable", with its bytes and the reason.
    ///
    /// On Kafka it runs beside the shop; an embedded log is one process's at a time, so there the shop is stopped first.
    Export(Box<Export>),
    /// Look at the settings
    Config {
        /// What to look at.
        #[command(subcommand)]
        check: Check,
    },
    /// Make or check the topics in Kafka
    Topics {
        /// Which step.
        #[command(subcommand)]
        step: Step<TopicsApply, Cluster>,
    },
    /// Register or check the schemas in the registry
    Schemas {
        /// Which step.
        #[command(subcommand)]
        step: Step<Registry, Registry>,
    },
    /// Make or check the tables and collections of the views
    Views {
        /// Which step.
        #[command(subcommand)]
        step: Step<StoresConfig, StoresConfig>,
    },
}

/// The settings of a gateway.
#[derive(Debug, Args)]
pub struct Gateway {
    /// Who this process is.
    #[command(flatten)]
    pub node: NodeConfig,
    /// Where the log is.
    #[command(flatten)]
    pub log: LogConfig,
    /// Where the views are.
    #[command(flatten)]
    pub stores: StoresConfig,
    /// How requests are served.
    #[command(flatten)]
    pub http: HttpConfig,
    /// Where operators are answered.
    #[command(flatten)]
    pub operators: OperatorsConfig,
}

/// The settings of a node that decides.
#[derive(Debug, Args)]
pub struct Commands {
    /// Of which aggregates, separated by commas; all without it
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CONTEXT")]
    pub context: Vec<Context>,
    /// Who this process is.
    #[command(flatten)]
    pub node: NodeConfig,
    /// Where the log is.
    #[command(flatten)]
    pub log: LogConfig,
    /// How commands are decided.
    #[command(flatten)]
    pub commands: CommandsConfig,
    /// How other nodes reach this one.
    #[command(flatten)]
    pub cluster: ClusterConfig,
}

/// A part of the shop with aggregates of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Context {
    /// Orders
    Order,
    /// Stock items
    Stock,
}

/// The settings of a node that keeps views.
#[derive(Debug, Args)]
pub struct Projections {
    /// Views of which stores, separated by commas; of all that are configured without it
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STORE")]
    pub store: Vec<StoreName>,
    /// Who this process is.
    #[command(flatten)]
    pub node: NodeConfig,
    /// Where the log is.
    #[command(flatten)]
    pub log: LogConfig,
    /// Where the views are.
    #[command(flatten)]
    pub stores: StoresConfig,
    /// Where this process says how it is.
    #[command(flatten)]
    pub cluster: ClusterConfig,
    /// Where operators are answered.
    #[command(flatten)]
    pub operators: OperatorsConfig,
}

/// A store on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreName {
    /// PostgreSQL
    Postgres,
    /// MySQL or MariaDB
    Mysql,
    /// MongoDB
    Mongo,
}

/// Which cluster, and in which form.
#[derive(Debug, Args)]
pub struct Owners {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: Cluster,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// How the status is shown.
#[derive(Debug, Args)]
pub struct Status {
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
    /// Show it again every two seconds, until interrupted
    #[arg(long)]
    pub watch: bool,
    /// As JSON; with --watch a line each time
    #[arg(long)]
    pub json: bool,
}

/// How much of the audit, and in which form.
#[derive(Debug, Args)]
pub struct Audit {
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
    /// How many entries
    #[arg(long, value_name = "ENTRIES", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}
