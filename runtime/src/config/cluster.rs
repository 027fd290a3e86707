use std::net::SocketAddr;

/// How the nodes of a cluster reach each other. Of use with Kafka only: an embedded log has one process.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterConfig {
    /// Where other nodes and operators reach this one: commands for its partitions, /livez, /readyz, /metrics. Not for the
    /// public; port 0 takes a free one.
    #[arg(long, env = "LONJA_CLUSTER_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub cluster_listen: SocketAddr,
    /// The address that other nodes are told, where it is not the one above.
    #[arg(long, env = "LONJA_CLUSTER_ADDRESS", value_name = "HOST:PORT")]
    pub cluster_address: Option<String>,
}
