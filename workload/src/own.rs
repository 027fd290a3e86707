//! What a tool makes on shared servers for itself, and takes away again: everything bears the name of the run.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use schemas::topics;
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use tokio::runtime::Runtime;

use crate::stack::Stack;

const PATIENCE: Duration = Duration::from_secs(15);

/// Makes a topic with the partitions and settings of `order.events`. Returns its name.
///
/// # Errors
/// When the broker refuses.
pub fn make_topic(stack: &Stack, name: &str) -> Result<String> {
    let partitions = i32::try_from(topics::ORDER.partitions).context("too many partitions")?;
    // As many replicas as the broker gives a topic that does not say.
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    let topic = topics::EVENTS.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let made =
        runtime()?.block_on(admin(stack.kafka()?)?.create_topics(&[topic], &options)).context("creating a topic")?;
    made.into_iter().collect::<Result<Vec<_>, _>>().map_err(|(topic, code)| anyhow!("creating {topic}: {code}"))?;
    Ok(name.to_owned())
}

/// Makes a database in PostgreSQL. Returns its address.
///
/// # Errors
/// When PostgreSQL refuses.
pub fn make_postgres(stack: &Stack, name: &str) -> Result<String> {
    runtime()?.block_on(in_postgres(stack, &format!("CREATE DATABASE lonja_{name}")))?;
    Ok(stack.apart(name).postgres()?.to_owned())
}

/// Makes the databases of [`Stack::apart`]; MongoDB makes its own.
///
/// # Errors
/// When a server refuses.
pub fn make_databases(stack: &Stack, name: &str) -> Result<()> {
    make_postgres(stack, name)?;
    make_mysql(stack, name)
}

/// Makes a database in MySQL.
///
/// # Errors
/// When MySQL refuses.
pub fn make_mysql(stack: &Stack, name: &str) -> Result<()> {
    runtime()?.block_on(in_mysql(stack, &format!("CREATE DATABASE lonja_{name}")))
}

/// Removes every topic and database whose name begins with `name`, which must be unique to the run.
///
/// # Errors
/// When a server refuses.
pub fn remove(stack: &Stack, name: &str) -> Result<()> {
    remove_topics(stack.kafka()?, name)?;
    remove_databases(stack, name)
}

/// Removes every database whose name begins with `name`.
///
/// # Errors
/// When a server refuses.
pub fn remove_databases(stack: &Stack, name: &str) -> Result<()> {
    let runtime = runtime()?;
    if stack.postgres().is_ok() {
        for database in [format!("lonja_{name}"), format!("lonja_{name}_peer")] {
            runtime.block_on(in_postgres(stack, &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")))?;
        }
    }
    if stack.mysql().is_ok() {
        runtime.block_on(in_mysql(stack, &format!("DROP DATABASE IF EXISTS lonja_{name}")))?;
    }
    if let Ok(url) = stack.mongo() {
        runtime.block_on(async {
            let client = mongodb::Client::with_uri_str(url).await.context("connecting to MongoDB")?;
            client.database(&format!("lonja_{name}")).drop().await.context("dropping a database of MongoDB")
        })?;
    }
    Ok(())
}

/// Removes every topic whose name begins with `prefix`.
///
/// # Errors
/// When the broker refuses.
pub fn remove_topics(kafka: &str, prefix: &str) -> Result<()> {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer = config.set("bootstrap.servers", kafka).create().context("making a consumer")?;
    let metadata = consumer.fetch_metadata(None, PATIENCE).context("asking for topics")?;
    let names = metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name);
    let topics: Vec<&str> = names.filter(|topic| topic.starts_with(prefix)).collect();
    if topics.is_empty() {
        return Ok(());
    }
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    runtime()?.block_on(admin(kafka)?.delete_topics(&topics, &options)).context("deleting topics")?;
    Ok(())
}

fn runtime() -> Result<Runtime> {
    Runtime::new().context("starting a runtime")
}

fn admin(kafka: &str) -> Result<AdminClient<DefaultClientContext>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka).create().context("making an admin client")
}

async fn in_postgres(stack: &Stack, statement: &str) -> Result<()> {
    let mut connection = PgConnection::connect(stack.postgres()?).await.context("connecting to PostgreSQL")?;
    connection.execute(sqlx::AssertSqlSafe(statement)).await.with_context(|| statement.to_owned())?;
    connection.close().await.context("leaving PostgreSQL")
}

async fn in_mysql(stack: &Stack, statement: &str) -> Result<()> {
    let mut connection = MySqlConnection::connect(stack.mysql()?).await.context("connecting to MySQL")?;
    connection.execute(sqlx::AssertSqlSafe(statement)).await.with_context(|| statement.to_owned())?;
    connection.close().await.context("leaving MySQL")
}
