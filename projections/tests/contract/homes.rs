//! Homes of the views: each server with a database of its own, made for the test and dropped after it.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt;
use lonja_projections::{Stores, StoresConfig, Views, layout};
use mongodb::Client;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection};
use uuid::Uuid;

/// Where the views of a test live that can live there; the others live in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    Memory,
    Postgres,
    Mysql,
    Mongo,
}

/// What a test works with.
pub struct Scene {
    pub home: Home,
    pub config: StoresConfig,
    pub stores: Stores,
    pub views: Views,
}

/// Runs `test` in `home`, with its tables made.
pub async fn on(home: Home, test: impl AsyncFnOnce(&Scene)) {
    let database = format!("lonja_test_{}", Uuid::new_v4().simple());
    let resolutions = tempfile::tempdir().unwrap();
    let config = StoresConfig { resolutions: Some(resolutions.path().to_owned()), ..home.make(&database).await };
    let outcome = AssertUnwindSafe(async {
        let stores = Stores::new(&config).await.unwrap();
        layout::apply(&stores).await.unwrap();
        let views = Views::among(&stores);
        test(&Scene { home, config, stores, views }).await;
    });
    let outcome = outcome.catch_unwind().await;
    home.drop(&database).await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

impl Home {
    /// The address of the server, from the environment.
    pub fn server(self) -> String {
        let variable = match self {
            Self::Memory => unreachable!("memory has no server"),
            Self::Postgres => "LONJA_POSTGRES",
            Self::Mysql => "LONJA_MYSQL",
            Self::Mongo => "LONJA_MONGO",
        };
        std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: these tests need the real servers"))
    }

    /// The configuration with this home alone, at `url`.
    pub fn at(self, url: String) -> StoresConfig {
        let none = StoresConfig::default();
        match self {
            Self::Memory => none,
            Self::Postgres => StoresConfig { postgres: Some(url), ..none },
            Self::Mysql => StoresConfig { mysql: Some(url), ..none },
            Self::Mongo => StoresConfig { mongo: Some(url), ..none },
        }
    }

    async fn make(self, database: &str) -> StoresConfig {
        if self == Self::Memory {
            return StoresConfig::default();
        }
        self.execute(&format!("CREATE DATABASE {database}")).await;
        self.at(with_database(&self.server(), database))
    }

    async fn drop(self, database: &str) {
        match self {
            Self::Memory => {}
            Self::Postgres => self.execute(&format!("DROP DATABASE {database} WITH (FORCE)")).await,
            Self::Mysql => self.execute(&format!("DROP DATABASE {database}")).await,
            Self::Mongo => {
                let client = Client::with_uri_str(self.server()).await.unwrap();
                client.database(database).drop().await.unwrap();
            }
        }
    }

    /// MongoDB makes a database when it is first used.
    async fn execute(self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        if self == Self::Postgres {
            let mut connection = PgConnection::connect(&self.server()).await.unwrap();
            connection.execute(sql).await.unwrap();
        } else if self == Self::Mysql {
            let mut connection = MySqlConnection::connect(&self.server()).await.unwrap();
            connection.execute(sql).await.unwrap();
        }
    }
}

fn with_database(url: &str, database: &str) -> String {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = address.rsplit_once('/').unwrap();
    format!("{server}/{database}?{query}")
}
