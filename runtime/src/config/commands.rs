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
}
