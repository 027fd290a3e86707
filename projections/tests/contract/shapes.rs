//! Views whose rows get another column.

use lonja_projections::generations::{Notes, compare};
use lonja_projections::store::Store;
use lonja_projections::view::View;
use lonja_projections::views::ToEach;

use crate::folding::seed;
use crate::generations::{Step, run};
use crate::history::History;
use crate::homes::{Home, Scene};

/// A build that has one column more: a migration adds it to the table of the live generation with a default, which
/// is what rows that were folded before say, and a replay makes the rows that the new fold makes of the whole log. What
/// stands for the older table here is the newest one without one of its columns.
pub async fn a_new_column_comes_by_a_migration_and_a_replay(scene: &Scene) {
    let (view, change) = match scene.home {
        Home::Postgres => (
            "order_list",
            "ALTER TABLE order_list_g1 DROP COLUMN total_amount; ALTER TABLE order_list_g1 ADD COLUMN total_amount bigint NOT NULL DEFAULT 0",
        ),
        Home::Mysql => (
            "stock_level",
            "ALTER TABLE stock_level_g1 DROP COLUMN reserved; ALTER TABLE stock_level_g1 ADD COLUMN reserved bigint NOT NULL DEFAULT 0",
        ),
        // Documents have no columns: an absent field is a matter of how a view reads.
        Home::Memory | Home::Mongo => unreachable!("it has no tables"),
    };
    let mut history = History::new(seed());
    history.go_on(300);
    let before = run(scene, &history).await;
    let views = before.views.clone();
    views.each(&Deploy { step: Step { running: &before, history: &history }, view, replay: false }).await;
    before.stop().await;
    if let Some(pool) = &scene.stores.postgres {
        sqlx::raw_sql(change).execute(pool).await.unwrap();
    }
    if let Some(pool) = &scene.stores.mysql {
        sqlx::raw_sql(change).execute(pool).await.unwrap();
    }
    let after = run(scene, &history).await;
    let views = after.views.clone();
    views.each(&Deploy { step: Step { running: &after, history: &history }, view, replay: true }).await;
    after.stop().await;
}

struct Deploy<'s> {
    step: Step<'s>,
    view: &'static str,
    replay: bool,
}

impl ToEach for Deploy<'_> {
    type Outcome = ();

    async fn to<V: View, S: Store<V>>(&self, store: &S) {
        let step = &self.step;
        if V::NAME != self.view {
            return;
        }
        step.reach_end::<V>(V::GENERATION).await;
        let wrong = step.differences(store, V::GENERATION).await;
        if !self.replay {
            assert_eq!(wrong, 0);
            return;
        }
        assert!(wrong > 0, "rows that were there have the default");
        let notes = Notes { started_at: Some(1), ..Notes::default() };
        let number = store.generations().create(notes).await.unwrap();
        step.reach_end::<V>(number).await;
        assert_eq!(step.differences(store, number).await, 0);
        let diff = compare(&store.numbered(V::GENERATION), &store.numbered(number), 5).await.unwrap();
        assert_eq!((diff.added, diff.removed, diff.changed), (0, 0, wrong as u64), "{diff:?}");
        assert!(store.generations().promote(V::GENERATION, number).await.unwrap());
        step.until_live::<V>(number).await;
    }
}
