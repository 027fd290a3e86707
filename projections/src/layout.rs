//! Tables, collections and indexes: made by a step (`lonja views apply`), checked before a start relies on them.

use std::collections::BTreeSet;

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migrator};
use sqlx::{Acquire, MySqlPool, PgPool};

use crate::store::StoreError;
use crate::stores::mongo::{self, Indexed};
use crate::stores::{Stores, mysql, postgres};
use crate::views;

/// Makes what is missing in each store that is configured. Says what each of them has now.
///
/// # Errors
/// When a store does not answer or refuses.
pub async fn apply(stores: &Stores) -> Result<Vec<String>, StoreError> {
    let mut done = Vec::new();
    if let Some(pool) = &stores.postgres {
        postgres::MIGRATIONS.run(pool).await.map_err(failed("migrating", "PostgreSQL"))?;
        done.push(format!("PostgreSQL has {} migrations", postgres::MIGRATIONS.iter().count()));
    }
    if let Some(pool) = &stores.mysql {
        mysql::MIGRATIONS.run(pool).await.map_err(failed("migrating", "MySQL"))?;
        done.push(format!("MySQL has {} migrations", mysql::MIGRATIONS.iter().count()));
    }
    if let Some(database) = &stores.mongo {
        for Indexed { collection, indexes } in in_mongo() {
            mongo::make_indexes(database, &collection, indexes).await?;
            done.push(format!("MongoDB has {collection} with its indexes"));
        }
    }
    Ok(done)
}

/// Says what [`apply`] would make: one sentence each, none when all is there.
///
/// # Errors
/// When a store does not answer.
pub async fn check(stores: &Stores) -> Result<Vec<String>, StoreError> {
    let mut missing = Vec::new();
    if let Some(pool) = &stores.postgres {
        let applied = in_postgres(pool).await.map_err(failed("inspecting", "PostgreSQL"))?;
        missing.extend(differences("PostgreSQL", &postgres::MIGRATIONS, &applied));
    }
    if let Some(pool) = &stores.mysql {
        let applied = in_mysql(pool).await.map_err(failed("inspecting", "MySQL"))?;
        missing.extend(differences("MySQL", &mysql::MIGRATIONS, &applied));
    }
    if let Some(database) = &stores.mongo {
        for Indexed { collection, indexes } in in_mongo() {
            let present: BTreeSet<String> = mongo::index_names(database, &collection).await?;
            let names = indexes.into_iter().filter_map(|index| index.options.and_then(|options| options.name));
            let absent = names.filter(|name| !present.contains(name));
            missing.extend(absent.map(|name| format!("MongoDB: {collection} has no index {name}")));
        }
    }
    Ok(missing)
}

/// Every collection of MongoDB that must be there.
fn in_mongo() -> impl Iterator<Item = Indexed> {
    views::in_mongo().into_iter().chain(mongo::parking_collections())
}

fn failed(doing: &'static str, store: &'static str) -> impl Fn(MigrateError) -> StoreError {
    move |source| StoreError::Layout { doing, store, source: source.into() }
}

async fn in_postgres(pool: &PgPool) -> Result<Vec<AppliedMigration>, MigrateError> {
    let mut connection = pool.acquire().await?;
    let applied = connection.acquire().await?.list_applied_migrations(&postgres::MIGRATIONS.table_name).await;
    none_if_no_table(applied, "42P01")
}

async fn in_mysql(pool: &MySqlPool) -> Result<Vec<AppliedMigration>, MigrateError> {
    let mut connection = pool.acquire().await?;
    let applied = connection.acquire().await?.list_applied_migrations(&mysql::MIGRATIONS.table_name).await;
    none_if_no_table(applied, "42S02")
}

fn none_if_no_table(
    applied: Result<Vec<AppliedMigration>, MigrateError>,
    no_table: &str,
) -> Result<Vec<AppliedMigration>, MigrateError> {
    match applied {
        Err(MigrateError::Execute(sqlx::Error::Database(error))) if error.code().as_deref() == Some(no_table) => {
            Ok(Vec::new())
        }
        other => other,
    }
}

fn differences(store: &str, migrations: &Migrator, applied: &[AppliedMigration]) -> Vec<String> {
    let state = |version| applied.iter().find(|applied| applied.version == version);
    let difference = |migration: &sqlx::migrate::Migration| match state(migration.version) {
        None => Some("is missing"),
        Some(applied) if applied.checksum != migration.checksum => Some("was applied with another text"),
        Some(_) => None,
    };
    migrations
        .iter()
        .filter_map(|migration| {
            let what = difference(migration)?;
            Some(format!("{store}: migration {} ({}) {what}", migration.version, migration.description))
        })
        .collect()
}
