use std::net::SocketAddr;

/// Where operators are answered.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Operators")]
pub struct OperatorsConfig {
    /// Where the operators' API is, which the verbs of the command line use. Not for the public: whoever reaches it can do
    /// anything. Port 0 takes a free one.
    #[arg(long, env = "LONJA_OPERATORS_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8081")]
    pub operators_listen: SocketAddr,
}

/// Which process an operator asks, and who that is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Operator")]
pub struct OperatorConfig {
    /// The operators' API of a process that has views: `serve`, `gateway` or `projections`.
    #[arg(long, env = "LONJA_OPERATORS", value_name = "URL", default_value = "http://127.0.0.1:8081")]
    pub operators: String,
    /// Who you are: what you change is on record under this name.
    #[arg(long, env = "LONJA_OPERATOR", value_name = "NAME", default_value_t = user_at_host())]
    pub operator: String,
}

/// Whoever is logged in on this machine.
fn user_at_host() -> String {
    let user =
        ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    format!("{}@{}", user.as_deref().unwrap_or("unknown"), super::log::host_name())
}
