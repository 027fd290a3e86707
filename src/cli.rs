//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use runtime::Config;
use runtime::config::{
    ClusterConfig, CommandsConfig, HttpConfig, LogConfig, NodeConfig, OperatorConfig, OperatorsConfig, SecretUrl,
    StoresConfig, TelemetryConfig,
};
use schemas::{Topic, topics};

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

/// A look at the log.
#[derive(Debug, Subcommand)]
pub enum Look {
    /// Show the newest records of a topic
    Tail {
        /// Which records.
        #[command(flatten)]
        records: Records,
        /// Go on showing what is appended, until interrupted
        #[arg(long)]
        follow: bool,
    },
    /// Show records of a topic from a place on; from its start, or the whole history of a key, without one
    Show {
        /// Which records.
        #[command(flatten)]
        records: Records,
        /// From this offset on; of one partition
        #[arg(long, value_name = "OFFSET", requires = "place")]
        from: Option<u64>,
        /// From the first record on that was appended then or later, such as 2026-01-31T12:00:00Z
        #[arg(long, value_name = "TIME", conflicts_with = "from")]
        since: Option<String>,
    },
    /// Count what stands in each partition, and how much of it counts
    Stats {
        /// Which process, and who asks.
        #[command(flatten)]
        operator: OperatorConfig,
        /// Such as order.events
        topic: String,
        /// One partition
        #[arg(long, value_name = "NUMBER")]
        partition: Option<u32>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which records of a topic, and in which form.
#[derive(Debug, Args)]
pub struct Records {
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
    /// Such as order.events
    pub topic: String,
    /// One partition
    #[arg(long, value_name = "NUMBER", group = "place")]
    pub partition: Option<u32>,
    /// Only records of this key
    #[arg(long, value_name = "KEY", group = "place")]
    pub key: Option<String>,
    /// How many records
    #[arg(long, value_name = "RECORDS", default_value = "20", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
    /// As JSON, a record a line
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

/// What is done about parked events.
#[derive(Debug, Subcommand)]
pub enum Parked {
    /// List the aggregates whose events are parked
    List(ParkedList),
    /// Show why events are parked, the most frequent reason first
    Group(ParkedGroup),
    /// Show the parked events of one aggregate, with headers and bytes
    Show(ParkedShow),
    /// Try them again, in their order
    Retry(ParkedRetry),
    /// Leave them out of the view, for good
    Discard(ParkedDiscard),
    /// Have the view read another event in place of one; the log stays as it is
    Correct(ParkedCorrect),
}

/// Which of what is parked, and in which form.
#[derive(Debug, Args)]
pub struct ParkedList {
    /// One view; all without it
    #[arg(long, value_name = "VIEW")]
    pub view: Option<String>,
    /// How many
    #[arg(long, value_name = "AGGREGATES", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which views, and in which form.
#[derive(Debug, Args)]
pub struct ParkedGroup {
    /// One view; all without it
    #[arg(long, value_name = "VIEW")]
    pub view: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// An aggregate whose events are parked, as the list names it.
#[derive(Debug, Args)]
pub struct ParkedKey {
    /// In which view
    pub view: String,
    /// Where its events stand, such as order.events/3
    pub partition: String,
    /// The key of its records
    pub key: String,
}

/// Which one, and in which form.
#[derive(Debug, Args)]
pub struct ParkedShow {
    /// Whose events.
    #[command(flatten)]
    pub key: ParkedKey,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which to try again, and why.
#[derive(Debug, Args)]
pub struct ParkedRetry {
    /// In which view
    pub view: String,
    /// Where the events of one aggregate stand, such as order.events/3
    #[arg(requires = "key", required_unless_present = "all", conflicts_with = "all")]
    pub partition: Option<String>,
    /// The key of its records
    pub key: Option<String>,
    /// Every aggregate whose events are parked
    #[arg(long)]
    pub all: bool,
    /// Only those whose first event has this cause
    #[arg(long, value_name = "CAUSE")]
    pub cause: Option<String>,
    /// At most so many
    #[arg(long, value_name = "AGGREGATES")]
    pub limit: Option<u64>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which to leave out, and why.
#[derive(Debug, Args)]
pub struct ParkedDiscard {
    /// Whose events.
    #[command(flatten)]
    pub key: ParkedKey,
    /// One event; all that are parked of the aggregate without it
    #[arg(long, value_name = "OFFSET")]
    pub offset: Option<u64>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which to correct, how, and why.
#[derive(Debug, Args)]
pub struct ParkedCorrect {
    /// Whose event.
    #[command(flatten)]
    pub key: ParkedKey,
    /// Which event
    #[arg(long, value_name = "OFFSET")]
    pub offset: u64,
    /// A file with the event as JSON, by the Avro schema of its type
    #[arg(long, value_name = "FILE")]
    pub event: std::path::PathBuf,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// What is done with generations of views.
#[derive(Debug, Subcommand)]
pub enum Replay {
    /// Make a new generation of a view and fold the log into it, beside the live one
    Start(ReplayStart),
    /// Show how generations are coming on
    Status(ReplayStatus),
    /// Do not fold one for the time being
    Pause(ReplayChange),
    /// Fold it again
    Resume(ReplayChange),
    /// Fold the rest of the partitions, too
    Widen(ReplayChange),
    /// Delete one that was never live
    Cancel(ReplayChange),
    /// Compare one with an independent fold of the log
    Verify(ReplayChange),
    /// Show which rows are different from those of the live one
    Diff(ReplayDiff),
    /// Have readers see it, once it has folded as much as the live one
    Promote(ReplayChange),
    /// Have readers see the former one again
    Rollback(ReplayBack),
    /// Delete one that was live
    Retire(ReplayChange),
}

/// Of which view, and how fast.
#[derive(Debug, Args)]
pub struct ReplayStart {
    /// Of which view
    pub view: String,
    /// Most events a second, to spare live traffic; 0 is no bound. 5000 without it
    #[arg(long, value_name = "EVENTS/S")]
    pub rate: Option<u64>,
    /// Only these partitions, such as order.events/3,order.events/7; to try a new fold on a part of the log first
    #[arg(long, value_name = "PARTITION", value_delimiter = ',')]
    pub partitions: Vec<String>,
    /// Only from there on: a time such as 2026-01-31T12:00:00Z, or an offset of the one partition. For views whose rows are each made by one record
    #[arg(long, value_name = "OFFSET|TIME")]
    pub from: Option<String>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which views, and in which form.
#[derive(Debug, Args)]
pub struct ReplayStatus {
    /// One view; all without it
    pub view: Option<String>,
    /// Again every second, until nothing is being built
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which generation, and why.
#[derive(Debug, Args)]
pub struct ReplayChange {
    /// Of which view
    pub view: String,
    /// Which generation, as the status numbers it
    pub generation: u32,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Of which view, and why.
#[derive(Debug, Args)]
pub struct ReplayBack {
    /// Of which view
    pub view: String,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// Which generation, and in which form.
#[derive(Debug, Args)]
pub struct ReplayDiff {
    /// Of which view
    pub view: String,
    /// Which generation, as the status numbers it
    pub generation: u32,
    /// How many different rows are shown
    #[arg(long, value_name = "ROWS", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// As a page in this file, too
    #[arg(long, value_name = "FILE")]
    pub html: Option<std::path::PathBuf>,
    /// Which process, and who asks.
    #[command(flatten)]
    pub operator: OperatorConfig,
}

/// What is exported, and to where.
#[derive(Debug, Args)]
pub struct Export {
    /// Such as order.events
    #[arg(value_parser = topic)]
    pub topic: &'static Topic,
    /// Into which directory; it is made, or gone on with
    #[arg(long, value_name = "DIRECTORY")]
    pub to: PathBuf,
    /// One partition; all without it
    #[arg(long, value_name = "NUMBER")]
    pub partition: Option<u32>,
    /// As JSON: a line for each finished file, and one with the sums at the end
    #[arg(long)]
    pub json: bool,
    /// Where an embedded log is.
    #[command(flatten)]
    pub node: NodeConfig,
    /// Where the log is.
    #[command(flatten)]
    pub log: LogConfig,
}

/// Reads the name of a topic of events.
fn topic(name: &str) -> Result<&'static Topic, String> {
    let names = || topics::ALL.iter().map(|topic| topic.name).collect::<Vec<_>>().join(", ");
    topics::by_name(name).ok_or_else(|| format!("topics of events are {}", names()))
}

/// A look at the settings.
#[derive(Debug, Subcommand)]
pub enum Check {
    /// Show each setting of `serve` with its value, unit and source; exit with 2 when they are not usable
    Check(Box<Config>),
}

/// A step that prepares what the shop needs: never a side effect of a start.
#[derive(Debug, Subcommand)]
pub enum Step<A: Args, C: Args> {
    /// Make what is missing; refuse what cannot be changed
    Apply(A),
    /// Change nothing; fail when anything is not as it must be
    Check(C),
}

/// Which cluster.
#[derive(Debug, Args)]
pub struct Cluster {
    /// Kafka's bootstrap servers, separated by commas.
    #[arg(long, env = "LONJA_KAFKA", value_name = "HOST:PORT")]
    pub kafka: String,
    /// Put before the name of each topic.
    #[arg(long, env = "LONJA_TOPIC_PREFIX", value_name = "TEXT", default_value = "")]
    pub topic_prefix: String,
}

/// Which cluster, and how safe.
#[derive(Debug, Args)]
pub struct TopicsApply {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: Cluster,
    /// On how many brokers each partition is kept; 3 where there are three.
    #[arg(long, env = "LONJA_REPLICATION", value_name = "BROKERS", default_value = "1",
        value_parser = clap::value_parser!(i32).range(1..))]
    pub replication: i32,
}

/// Which registry.
#[derive(Debug, Args)]
pub struct Registry {
    /// The schema registry.
    #[arg(long, env = "LONJA_REGISTRY", value_name = "URL", hide_env_values = true)]
    pub registry: SecretUrl,
    /// Put before the name of each topic, and so of each subject.
    #[arg(long, env = "LONJA_TOPIC_PREFIX", value_name = "TEXT", default_value = "")]
    pub topic_prefix: String,
}
