//! Making tables, collections and indexes.

use lonja_projections::{Stores, Views, layout};
use mongodb::bson::Document;

use crate::folding::seed;
use crate::history::History;
use crate::homes::{Home, Scene};
use crate::running::{Running, assert_right, retrying};

/// The scene's tables are dropped again: a projector waits for them, and goes on when the step was made.
pub async fn what_is_missing_is_named_and_made(scene: &Scene) {
    assert_eq!(layout::check(&scene.stores).await.unwrap(), Vec::<String>::new());
    layout::apply(&scene.stores).await.unwrap();
    drop_everything(&scene.stores).await;
    let missing = layout::check(&scene.stores).await.unwrap();
    let (count, what) = match scene.home {
        Home::Postgres => (5, "PostgreSQL: migration 2 (order detail) is missing"),
        Home::Mysql => (4, "MySQL: migration 2 (stock level) is missing"),
        Home::Mongo => (1, "MongoDB: activity_feed_g2 has no index by_subject"),
        Home::Memory => unreachable!("memory has no tables"),
    };
    assert!(missing.len() == count && missing.contains(&what.to_owned()), "{missing:?}");

    let mut history = History::new(seed());
    history.go_on(100);
    let views = Views::among(&scene.stores);
    let running = Running::start(&views, &history, 50).await;
    match scene.home {
        Home::Postgres => drop(running.state("order_detail", retrying).await),
        Home::Mysql => drop(running.state("stock_level", retrying).await),
        // MongoDB makes collections when they are written to.
        Home::Mongo | Home::Memory => {}
    }
    layout::apply(&scene.stores).await.unwrap();
    assert_eq!(layout::check(&scene.stores).await.unwrap(), Vec::<String>::new());
    running.reach_end(&history).await;
    running.stop().await;
    assert_right(&views, &history).await;
}

async fn drop_everything(stores: &Stores) {
    if let Some(pool) = &stores.postgres {
        let drop = sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
        drop.execute(pool).await.unwrap();
    }
    if let Some(pool) = &stores.mysql {
        sqlx::raw_sql("DROP TABLE checkpoints, stock_level_g1, parked_events, resolutions, generations, live_generations, _sqlx_migrations")
            .execute(pool)
            .await
            .unwrap();
    }
    if let Some(database) = &stores.mongo {
        database.collection::<Document>("activity_feed_g2").drop().await.unwrap();
    }
}
