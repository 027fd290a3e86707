//! Names of a test's own on the real servers: databases, topics, subjects. What a test made is removed by whoever comes
//! half an hour later: a shop that tests share has no last one that could do it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mongodb::Client;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sqlx::{Connection, MySqlConnection, PgConnection};
use uuid::Uuid;

/// How long nobody else may remove what a test has made.
const KEPT: Duration = Duration::from_secs(30 * 60);

/// What all names begin with; the time of making in seconds since 1970 follows.
const MARK: &str = "lonja_own_";

/// The variable `name`, which `cargo xtask stack env` prints.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the servers with `cargo xtask stack up`"))
}

/// The settings of a shop of its own, as its environment. Its databases are there and empty; its topics, schemas and
/// tables are not there.
pub async fn settings() -> Vec<(&'static str, String)> {
    let name = format!("{MARK}{}_{}", now().as_secs(), Uuid::new_v4().simple());
    let (postgres, mysql) = (variable("LONJA_POSTGRES"), variable("LONJA_MYSQL"));
    let (mut in_postgres, mut in_mysql) = connect(&postgres, &mysql).await;
    for old in leftovers(&mut in_postgres).await {
        remove(&old, &mut in_postgres, &mut in_mysql).await;
    }
    let create = format!("CREATE DATABASE {name}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create.clone())).execute(&mut in_postgres).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut in_mysql).await.unwrap();
    vec![
        ("LONJA_KAFKA", variable("LONJA_KAFKA")),
        ("LONJA_REGISTRY", variable("LONJA_REGISTRY")),
        ("LONJA_TOPIC_PREFIX", format!("{name}.")),
        ("LONJA_POSTGRES", in_database(&postgres, &name)),
        ("LONJA_MYSQL", in_database(&mysql, &name)),
        ("LONJA_MONGO", in_database(&variable("LONJA_MONGO"), &name)),
    ]
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

async fn connect(postgres: &str, mysql: &str) -> (PgConnection, MySqlConnection) {
    (PgConnection::connect(postgres).await.unwrap(), MySqlConnection::connect(mysql).await.unwrap())
}

/// `url` with another database: the path of the URL.
fn in_database(url: &str, database: &str) -> String {
    let (place, query) =
        url.split_once('?').map_or((url, String::new()), |(place, query)| (place, format!("?{query}")));
    let (scheme, place) = place.split_once("://").unwrap();
    let authority = place.split('/').next().unwrap();
    format!("{scheme}://{authority}/{database}{query}")
}

/// Names whose time is over. Each is a database in PostgreSQL: that is made first and removed last.
async fn leftovers(postgres: &mut PgConnection) -> Vec<String> {
    let names: Vec<String> = sqlx::query_scalar("SELECT datname FROM pg_database").fetch_all(postgres).await.unwrap();
    let made = |name: &String| name.strip_prefix(MARK)?.split('_').next()?.parse().ok().map(Duration::from_secs);
    names.into_iter().filter(|name| made(name).is_some_and(|made| made + KEPT < now())).collect()
}

async fn remove(name: &str, postgres: &mut PgConnection, mysql: &mut MySqlConnection) {
    remove_topics(name).await;
    remove_subjects(name).await;
    let mongo = Client::with_uri_str(variable("LONJA_MONGO")).await.unwrap();
    // Another test may be removing it at this moment, and then is there first.
    let _ = mongo.database(name).drop().await;
    let drop = format!("DROP DATABASE IF EXISTS {name}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop.clone())).execute(mysql).await.unwrap();
    let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{drop} WITH (FORCE)"))).execute(postgres).await;
}

async fn remove_topics(name: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", variable("LONJA_KAFKA"));
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(10)).unwrap();
    let topics = metadata.topics().iter().map(|topic| topic.name());
    let ours: Vec<&str> = topics.filter(|topic| topic.starts_with(name)).collect();
    if !ours.is_empty() {
        admin.delete_topics(&ours, &AdminOptions::new()).await.unwrap();
    }
}

async fn remove_subjects(name: &str) {
    let (http, registry) = (reqwest::Client::new(), variable("LONJA_REGISTRY"));
    let all = http.get(format!("{registry}/subjects")).send().await.unwrap();
    let all: Option<Vec<String>> = all.json().await.unwrap();
    for subject in all.unwrap_or_default().iter().filter(|subject| subject.starts_with(name)) {
        for how in ["", "?permanent=true"] {
            http.delete(format!("{registry}/subjects/{subject}{how}")).send().await.unwrap();
        }
    }
}
