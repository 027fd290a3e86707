//! The stores that the settings name, and the views that live in them.

use std::time::Duration;

use anyhow::anyhow;
use projections::store::Store;
use projections::view::View;
use projections::views::ToEach;
use projections::{Kind, Stores, Views, layout};
use runtime::config::StoresConfig;
use tokio::time::timeout;

use crate::Failure;

/// How long a start waits for the stores to say whether they are prepared. A store that is down is no obstacle: its
/// views catch up when it is back.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings as projections know them.
#[must_use]
pub fn config(stores: &StoresConfig) -> projections::StoresConfig {
    let text = |url: &Option<runtime::config::SecretUrl>| url.as_ref().map(|url| url.expose().to_owned());
    projections::StoresConfig {
        postgres: text(&stores.postgres),
        mysql: text(&stores.mysql),
        mongo: text(&stores.mongo),
        resolutions: None,
    }
}

/// Refuses stores that lack something. One that does not answer is logged, and passes.
///
/// # Errors
/// What is missing, with the command that makes it.
pub async fn check_at_start(settings: &StoresConfig) -> Result<(), Failure> {
    let stores = Stores::new(&config(settings)).await?;
    match timeout(CHECK_TIMEOUT, check(settings, &stores)).await {
        Ok(Err(Failure::Other(error))) => {
            tracing::warn!(error = format!("{error:#}"), "a store does not say whether it is prepared");
            Ok(())
        }
        Ok(checked) => checked,
        Err(_) => {
            tracing::warn!("the stores do not say in time whether they are prepared");
            Ok(())
        }
    }
}

/// Whether the stores have all that the views need.
///
/// # Errors
/// What is missing, with the command that makes it; or that a store does not answer.
pub async fn check(settings: &StoresConfig, stores: &Stores) -> Result<(), Failure> {
    let missing = layout::check(stores).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let flag = |name: &str, url: &Option<runtime::config::SecretUrl>| {
        url.as_ref().map_or_else(String::new, |url| format!(" --{name} '{url}'"))
    };
    let run = format!(
        "lonja views apply{}{}{}",
        flag("postgres", &settings.postgres),
        flag("mysql", &settings.mysql),
        flag("mongo", &settings.mongo)
    );
    Err(Failure::NotPrepared { error: anyhow!("the stores lack something: {}", missing.join("; ")), run })
}

/// The views that are built anew at each start.
pub async fn in_memory(views: &Views) -> Vec<&'static str> {
    struct InMemory;
    impl ToEach for InMemory {
        type Outcome = Option<&'static str>;

        async fn to<V: View, S: Store<V>>(&self, store: &S) -> Option<&'static str> {
            (store.kind() == Kind::Memory).then_some(V::NAME)
        }
    }
    views.each(&InMemory).await.into_iter().flatten().collect()
}
