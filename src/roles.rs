//! Which parts of the shop a process runs: `serve` all of them, every other role some.

use projections::{Folds, Kind};
use runtime::Config;
use runtime::config::{
    ClusterConfig, CommandsConfig, ConfigError, HttpConfig, LogConfig, NodeConfig, OperatorsConfig, StoresConfig,
};

use crate::cli::{self, Context, StoreName};

/// The parts of one process, with the settings of each.
pub struct Parts<'c> {
    /// Who this process is.
    pub node: &'c NodeConfig,
    /// Where the log is.
    pub log: &'c LogConfig,
    /// The public API.
    pub http: Option<&'c HttpConfig>,
    /// The owners of these contexts.
    pub commands: Option<(&'c CommandsConfig, Vec<Context>)>,
    /// Views, and which of them are folded here.
    pub views: Option<(&'c StoresConfig, Folds)>,
    /// Where other nodes and operators reach it.
    pub cluster: Option<&'c ClusterConfig>,
    /// The operators' API, where there are views.
    pub operators: Option<&'c OperatorsConfig>,
}

/// Every context.
const CONTEXTS: [Context; 2] = [Context::Order, Context::Stock];

impl<'c> Parts<'c> {
    /// `lonja serve`: everything. On an embedded log it is alone.
    #[must_use]
    pub fn all(config: &'c Config) -> Self {
        Self {
            node: &config.node,
            log: &config.log,
            http: Some(&config.http),
            commands: Some((&config.commands, CONTEXTS.into())),
            views: Some((&config.stores, Folds::All)),
            cluster: config.log.kafka.as_ref().map(|_| &config.cluster),
            operators: Some(&config.operators),
        }
    }

    /// `lonja gateway`
    #[must_use]
    pub fn gateway(args: &'c cli::Gateway) -> Self {
        Self {
            node: &args.node,
            log: &args.log,
            http: Some(&args.http),
            commands: None,
            views: Some((&args.stores, Folds::Memory)),
            cluster: None,
            operators: Some(&args.operators),
        }
    }

    /// `lonja commands`
    #[must_use]
    pub fn commands(args: &'c cli::Commands) -> Self {
        let contexts = if args.context.is_empty() { CONTEXTS.into() } else { args.context.clone() };
        Self {
            node: &args.node,
            log: &args.log,
            http: None,
            commands: Some((&args.commands, contexts)),
            views: None,
            cluster: Some(&args.cluster),
            operators: None,
        }
    }

    /// `lonja projections`
    #[must_use]
    pub fn projections(args: &'c cli::Projections) -> Self {
        let kind = |store: &StoreName| match store {
            StoreName::Postgres => Kind::Postgres,
            StoreName::Mysql => Kind::Mysql,
            StoreName::Mongo => Kind::Mongo,
        };
        let every = [Kind::Postgres, Kind::Mysql, Kind::Mongo].into_iter();
        let kinds = match args.store.is_empty() {
            true => every.filter(|kind| is_configured(&args.stores, *kind)).collect(),
            false => args.store.iter().map(kind).collect(),
        };
        Self {
            node: &args.node,
            log: &args.log,
            http: None,
            commands: None,
            views: Some((&args.stores, Folds::Only(kinds))),
            cluster: Some(&args.cluster),
            operators: Some(&args.operators),
        }
    }

    /// Checks what no setting can say alone. `role` is the subcommand.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self, role: &'static str) -> Result<(), ConfigError> {
        self.node.validate()?;
        self.log.validate()?;
        let alone = self.http.is_some() && self.commands.is_some();
        if self.log.kafka.is_none() && !alone {
            return Err(ConfigError::RoleWithoutKafka { role });
        }
        match &self.views {
            Some((stores, Folds::Only(kinds)))
                if kinds.is_empty() || !kinds.iter().all(|kind| is_configured(stores, *kind)) =>
            {
                Err(ConfigError::StoreMissing)
            }
            _ => Ok(()),
        }
    }
}

fn is_configured(stores: &StoresConfig, kind: Kind) -> bool {
    match kind {
        Kind::Memory => true,
        Kind::Postgres => stores.postgres.is_some(),
        Kind::Mysql => stores.mysql.is_some(),
        Kind::Mongo => stores.mongo.is_some(),
    }
}
