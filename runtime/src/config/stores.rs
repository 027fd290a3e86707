use super::SecretUrl;

/// Where the views are. A store that is not given is replaced by memory, rebuilt from the log at each start.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Stores")]
pub struct StoresConfig {
    /// PostgreSQL with the views of orders.
    #[arg(long, env = "LONJA_POSTGRES", value_name = "URL", hide_env_values = true)]
    pub postgres: Option<SecretUrl>,
    /// MySQL or MariaDB with the views of stock.
    #[arg(long, env = "LONJA_MYSQL", value_name = "URL", hide_env_values = true)]
    pub mysql: Option<SecretUrl>,
    /// MongoDB (a replica set) with the activity feed.
    #[arg(long, env = "LONJA_MONGO", value_name = "URL", hide_env_values = true)]
    pub mongo: Option<SecretUrl>,
}
