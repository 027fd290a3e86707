//! Steps that prepare what the shop needs. A start never does them by itself: what a running service makes as a side
//! effect, nobody has reviewed.

use anyhow::anyhow;
use eventlog::kafka::topics::TopicsReport;
use projections::{Stores, layout};
use runtime::config::StoresConfig;
use schemas::registry::apply::{self as registry, SchemasReport};

use crate::cli::steps::{Cluster, Registry, TopicsApply};
use crate::{Failure, log, views};

/// Makes the topics on the cluster.
///
/// # Errors
/// When the brokers do not answer or refuse, or a topic cannot be made right.
pub async fn apply_topics(cluster: &Cluster, replication: i32) -> Result<TopicsReport, Failure> {
    let log = log::connect(&cluster.kafka, &cluster.topic_prefix).await?;
    log::blocking(move || log.apply_topics(replication)).await
}

/// Registers the schemas.
///
/// # Errors
/// When the registry does not answer or refuses, or a schema could not read what is written already.
pub async fn apply_schemas(args: &Registry) -> Result<SchemasReport, Failure> {
    Ok(registry::apply(args.registry.expose(), &args.topic_prefix).await?)
}

/// Makes tables, collections and indexes. Says what each store has now.
///
/// # Errors
/// When a store does not answer or refuses.
pub async fn apply_views(stores: &StoresConfig) -> Result<Vec<String>, Failure> {
    Ok(layout::apply(&connect(stores).await?).await?)
}

/// `lonja topics apply`
///
/// # Errors
/// See [`apply_topics`].
pub fn topics_apply(args: &TopicsApply) -> Result<(), Failure> {
    print!("{}", block_on(apply_topics(&args.cluster, args.replication))?);
    Ok(())
}

/// `lonja topics check`
///
/// # Errors
/// When the brokers do not answer, or a topic is missing or different.
pub fn topics_check(cluster: &Cluster) -> Result<(), Failure> {
    block_on(async {
        let log = log::connect(&cluster.kafka, &cluster.topic_prefix).await?;
        log::check_topics(log, cluster).await
    })?;
    println!("every topic is as it must be");
    Ok(())
}

/// `lonja schemas apply`
///
/// # Errors
/// See [`apply_schemas`].
pub fn schemas_apply(args: &Registry) -> Result<(), Failure> {
    print!("{}", block_on(apply_schemas(args))?);
    Ok(())
}

/// `lonja schemas check`
///
/// # Errors
/// When the registry does not answer, or a schema is missing or not compatible.
pub fn schemas_check(args: &Registry) -> Result<(), Failure> {
    let checked = block_on(async { Ok(registry::check(args.registry.expose(), &args.topic_prefix).await) })?;
    print!("{}", checked.map_err(|error| log::unregistered(error, args))?);
    Ok(())
}

/// `lonja views apply`
///
/// # Errors
/// See [`apply_views`].
pub fn views_apply(stores: &StoresConfig) -> Result<(), Failure> {
    for done in block_on(apply_views(stores))? {
        println!("{done}");
    }
    Ok(())
}

/// `lonja views check`
///
/// # Errors
/// When a store does not answer, or something is missing.
pub fn views_check(stores: &StoresConfig) -> Result<(), Failure> {
    block_on(async { views::check(stores, &connect(stores).await?).await })?;
    println!("every view has its tables, collections and indexes");
    Ok(())
}

async fn connect(stores: &StoresConfig) -> Result<Stores, Failure> {
    let config = views::config(stores);
    if config.postgres.is_none() && config.mysql.is_none() && config.mongo.is_none() {
        return Err(Failure::Other(anyhow!("name a store: --postgres, --mysql or --mongo")));
    }
    Ok(Stores::new(&config).await?)
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
