//! The real servers: topics, schemas and databases of a shop's own.

use lonja::cli::{Cluster, Registry};
use lonja::{Failure, steps};
use runtime::Config;
use runtime::config::SecretUrl;
use sqlx::Connection;
use uuid::Uuid;

/// The variable `name`, which `cargo xtask stack env` prints.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the servers with `cargo xtask stack up`"))
}

/// Points `config` to the real servers and makes all that a new shop needs there, under names of its own.
pub async fn prepare(config: &mut Config) {
    let name = format!("lonja_http_{}", Uuid::new_v4().simple());
    config.log.kafka = Some(variable("LONJA_KAFKA"));
    config.log.registry = Some(url(&variable("LONJA_REGISTRY")));
    config.log.topic_prefix = format!("{name}.");
    config.stores.postgres = Some(postgres(&name).await);
    config.stores.mysql = Some(mysql(&name).await);
    config.stores.mongo = Some(url(&in_database(&variable("LONJA_MONGO"), &name)));
    apply(config).await.unwrap_or_else(|failure| panic!("{failure}"));
}

/// The steps of an operator.
async fn apply(config: &Config) -> Result<(), Failure> {
    let topic_prefix = config.log.topic_prefix.clone();
    let cluster = Cluster { kafka: variable("LONJA_KAFKA"), topic_prefix: topic_prefix.clone() };
    let registry = Registry { registry: url(&variable("LONJA_REGISTRY")), topic_prefix };
    steps::apply_topics(&cluster, 1).await?;
    steps::apply_schemas(&registry).await?;
    steps::apply_views(&config.stores).await?;
    Ok(())
}

async fn postgres(name: &str) -> SecretUrl {
    let server = variable("LONJA_POSTGRES");
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    url(&in_database(&server, name))
}

async fn mysql(name: &str) -> SecretUrl {
    let server = variable("LONJA_MYSQL");
    let mut connection = sqlx::MySqlConnection::connect(&server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    url(&in_database(&server, name))
}

fn url(text: &str) -> SecretUrl {
    text.parse().unwrap()
}

/// `url` with another database: the path of the URL.
fn in_database(url: &str, database: &str) -> String {
    let (place, query) =
        url.split_once('?').map_or((url, String::new()), |(place, query)| (place, format!("?{query}")));
    let (scheme, place) = place.split_once("://").unwrap();
    let authority = place.split('/').next().unwrap();
    format!("{scheme}://{authority}/{database}{query}")
}
