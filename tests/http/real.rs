//! The real servers: topics, schemas and databases of a shop's own.

use lonja::cli::steps::{Cluster, Registry};
use lonja::{Failure, steps};
use runtime::Config;

use crate::own;

/// Points `config` to the real servers and makes all that a new shop needs there, under names of its own.
pub async fn prepare(config: &mut Config) {
    for (name, value) in own::settings().await {
        match name {
            "LONJA_KAFKA" => config.log.kafka = Some(value),
            "LONJA_REGISTRY" => config.log.registry = value.parse().ok(),
            "LONJA_TOPIC_PREFIX" => config.log.topic_prefix = value,
            "LONJA_POSTGRES" => config.stores.postgres = value.parse().ok(),
            "LONJA_MYSQL" => config.stores.mysql = value.parse().ok(),
            "LONJA_MONGO" => config.stores.mongo = value.parse().ok(),
            other => panic!("nobody knows {other}"),
        }
    }
    apply(config).await.unwrap_or_else(|failure| panic!("{failure}"));
}

/// The steps of an operator.
async fn apply(config: &Config) -> Result<(), Failure> {
    let topic_prefix = config.log.topic_prefix.clone();
    let cluster = Cluster { kafka: own::variable("LONJA_KAFKA"), topic_prefix: topic_prefix.clone() };
    let registry = config.log.registry.clone().expect("it was set above");
    steps::apply_topics(&cluster, 1).await?;
    steps::apply_schemas(&Registry { registry, topic_prefix }).await?;
    steps::apply_views(&config.stores).await?;
    Ok(())
}
