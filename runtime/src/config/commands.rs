use clap::ArgAction;

use super::at_least_one;

/// How commands are decided.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Commands")]
pub struct CommandsConfig {
    /// Threads that decide, per kind of aggregate; the partitions are shared out among them.
    #[arg(long, env = "LONJA_LANES", value_name = "THREADS", default_value = "1", value_parser = at_least_one)]
    pub lanes: usize,
    /// Most commands that wait for one of these threads; the next one is answered with `busy`.
    #[arg(long, env = "LONJA_QUEUE_MAX", value_name = "COMMANDS", default_value = "4096", value_parser = at_least_one)]
    pub queue_max: usize,
    /// Most memory for states of aggregates that are kept at hand, over all partitions; what is not at hand is read from
    /// the local disk.
    #[arg(long, env = "LONJA_STATES_BYTES_MAX", value_name = "BYTES", default_value = "33554432",
        value_parser = at_least_one)]
    pub states_bytes_max: usize,
    /// Fold what other nodes own, too, so that it is taken over without reading its history. It costs each node
    /// the folding of everything, and the disk.
    #[arg(long, env = "LONJA_WARM_COPIES", value_name = "BOOLEAN", default_value = "true", action = ArgAction::Set)]
    pub warm_copies: bool,
}
