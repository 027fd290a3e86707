//! Every route, on one page.

use axum::Router;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::server::Shared;
use crate::{audit, log, parked, problem, replays, status};

/// All routes.
pub fn routes(operators: Shared) -> Router {
    Router::new()
        .route("/v1/status", get(status::show))
        .route("/v1/audit", get(audit::page::list))
        .route("/v1/parked", get(parked::list))
        .route("/v1/parked/groups", get(parked::groups))
        .route("/v1/parked/events", get(parked::show))
        .route("/v1/parked/retry", post(parked::retry))
        .route("/v1/parked/discard", post(parked::discard))
        .route("/v1/parked/correct", post(parked::correct))
        .route("/v1/replays", get(replays::list))
        .route("/v1/replays/diff", get(replays::diff))
        .route("/v1/replays/start", post(replays::start))
        .route("/v1/replays/pause", post(replays::pause))
        .route("/v1/replays/resume", post(replays::resume))
        .route("/v1/replays/widen", post(replays::widen))
        .route("/v1/replays/cancel", post(replays::cancel))
        .route("/v1/replays/verify", post(replays::verify))
        .route("/v1/replays/promote", post(replays::promote))
        .route("/v1/replays/rollback", post(replays::rollback))
        .route("/v1/replays/retire", post(replays::retire))
        .route("/v1/log/{topic}", get(log::page::list))
        .route("/v1/log/{topic}/stats", get(log::stats::stats))
        .fallback(problem::route_not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .with_state(operators)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

    /// `("/v1/audit", "get")` and so on, as the page above says.
    fn written_here() -> BTreeSet<(String, String)> {
        let page = include_str!("routes.rs");
        let lines = page.lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
        lines
            .flat_map(|line| {
                let (template, methods) = line.split_once("\", ").unwrap();
                let methods = METHODS.into_iter().filter(move |method| methods.contains(&format!("{method}(")));
                methods.map(move |method| (template.to_owned(), method.to_owned()))
            })
            .collect()
    }

    /// The same with the text of each operation, as `openapi.yaml` says: paths stand at two spaces, methods at four.
    fn written_in_the_contract() -> Vec<(String, String, String)> {
        let contract = include_str!("../openapi.yaml");
        let paths = contract.split("\npaths:\n").nth(1).unwrap().split("\ncomponents:").next().unwrap();
        let mut template = "";
        let mut found: Vec<(String, String, String)> = Vec::new();
        for line in paths.lines() {
            if let Some(path) = line.strip_prefix("  /") {
                template = path.trim_end_matches(':');
            } else if let Some(method) = line.strip_prefix("    ").and_then(|line| line.strip_suffix(':'))
                && METHODS.contains(&method)
            {
                found.push((format!("/{template}"), method.to_owned(), String::new()));
            } else if let Some((.., text)) = found.last_mut() {
                text.push_str(line);
            }
        }
        found
    }

    #[test]
    fn the_contract_has_each_route_and_no_other() {
        let contract: BTreeSet<_> =
            written_in_the_contract().into_iter().map(|(template, method, _)| (template, method)).collect();
        assert_eq!(contract, written_here());
    }

    #[test]
    fn whatever_changes_something_asks_for_a_name() {
        for (template, method, text) in written_in_the_contract() {
            let asks = text.contains("'#/components/parameters/Operator'");
            assert_eq!(asks, method != "get", "{method} {template}");
        }
    }

    #[test]
    fn the_contract_names_each_error() {
        let contract = include_str!("../openapi.yaml");
        for kind in crate::problem::KINDS {
            assert!(contract.contains(&format!("- {}\n", kind.code)), "{} is not in openapi.yaml", kind.code);
        }
    }
}
