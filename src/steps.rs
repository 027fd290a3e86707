//! Steps that prepare what the shop needs. A start never does them by itself: what a running service makes as a side
//! effect, nobody has reviewed.

use crate::cli::{TopicsApply, TopicsCheck};
use crate::{Failure, log};

/// `lonja topics apply`
///
/// # Errors
/// When the brokers do not answer or refuse, or a topic cannot be made right.
pub fn topics_apply(args: &TopicsApply) -> Result<(), Failure> {
    let (cluster, replication) = (&args.cluster, args.replication);
    let report = block_on(async {
        let log = log::connect(&cluster.kafka, &cluster.topic_prefix).await?;
        log::blocking(move || log.apply_topics(replication)).await
    })?;
    print!("{report}");
    Ok(())
}

/// `lonja topics check`
///
/// # Errors
/// When the brokers do not answer, or a topic is missing or different.
pub fn topics_check(args: &TopicsCheck) -> Result<(), Failure> {
    block_on(async {
        let log = log::connect(&args.kafka, &args.topic_prefix).await?;
        log::blocking(move || log.check_topics()).await
    })?;
    println!("every topic is as it must be");
    Ok(())
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
