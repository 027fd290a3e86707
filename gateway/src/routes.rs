//! Every route, on one page.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{GatewayState, activity, commands, edge, health, orders, problem, stock};

/// Templates of all routes: the values of the label `route` of the metrics.
pub const TEMPLATES: &[&str] = &[
    "/v1/orders",
    "/v1/orders/{id}",
    "/v1/orders/{id}/cancel",
    "/v1/stock/{sku}",
    "/v1/stock/{sku}/receipts",
    "/v1/stock/{sku}/reservations",
    "/v1/stock/{sku}/reservations/{reservation_id}",
    "/v1/activity",
    "/v1/commands/{key}",
    "/livez",
    "/readyz",
    "/metrics",
];

/// All routes.
pub fn routes(state: Arc<GatewayState>) -> Router {
    Router::new()
        .route("/v1/orders", post(orders::place).get(orders::list))
        .route("/v1/orders/{id}", get(orders::show))
        .route("/v1/orders/{id}/cancel", post(orders::cancel))
        .route("/v1/stock/{sku}", get(stock::show))
        .route("/v1/stock/{sku}/receipts", post(stock::receive))
        .route("/v1/stock/{sku}/reservations", post(stock::reserve))
        .route("/v1/stock/{sku}/reservations/{reservation_id}", delete(stock::release))
        .route("/v1/activity", get(activity::list))
        .route("/v1/commands/{key}", get(commands::show))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(problem::route_not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(CatchPanicLayer::custom(edge::panicked))
        .layer(from_fn_with_state(Arc::clone(&state), edge::edge))
        .with_state(state)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::TEMPLATES;

    /// `("/v1/orders", "post")` and so on, as the page above says.
    fn written_here() -> BTreeSet<(String, String)> {
        let page = include_str!("routes.rs");
        let lines = page.lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
        lines
            .flat_map(|line| {
                let (template, methods) = line.split_once("\", ").unwrap();
                let known = ["get", "post", "put", "patch", "delete"].into_iter();
                let methods = known.filter(move |method| methods.contains(&format!("{method}(")));
                methods.map(move |method| (template.to_owned(), method.to_owned()))
            })
            .collect()
    }

    /// The same, as `openapi.yaml` says: paths stand at two spaces, methods at four.
    fn written_in_the_contract() -> BTreeSet<(String, String)> {
        let contract = include_str!("../openapi.yaml");
        let paths = contract.split("\npaths:\n").nth(1).unwrap().split("\ncomponents:").next().unwrap();
        let mut template = "";
        let mut found = BTreeSet::new();
        for line in paths.lines() {
            if let Some(path) = line.strip_prefix("  /") {
                template = path.trim_end_matches(':');
            } else if let Some(method) = line.strip_prefix("    ").and_then(|line| line.strip_suffix(':'))
                && ["get", "post", "put", "patch", "delete"].contains(&method)
            {
                found.insert((format!("/{template}"), method.to_owned()));
            }
        }
        found
    }

    #[test]
    fn the_contract_has_each_route_and_no_other() {
        assert_eq!(written_in_the_contract(), written_here());
    }

    #[test]
    fn the_contract_names_each_error() {
        let contract = include_str!("../openapi.yaml");
        for kind in crate::problem::KINDS {
            assert!(contract.contains(&format!("- {}\n", kind.code)), "{} is not in openapi.yaml", kind.code);
        }
    }

    #[test]
    fn the_templates_are_those_of_the_routes() {
        let templates: BTreeSet<_> = TEMPLATES.iter().map(ToString::to_string).collect();
        assert_eq!(templates, written_here().into_iter().map(|(template, _)| template).collect());
    }
}
