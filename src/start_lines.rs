//! What `lonja serve` tells the person who started it.

use std::net::SocketAddr;

use runtime::config::SecretUrl;

use crate::roles::Parts;
use crate::shop::Shop;

/// Where everything is.
#[must_use]
pub fn places(role: &str, parts: &Parts<'_>, shop: &Shop) -> String {
    let mut lines = vec![format!("lonja {} {role}", env!("CARGO_PKG_VERSION"))];
    let mut line = |what: &str, text: String| lines.push(format!("  {what:<10}{text}"));
    if parts.http.is_some() {
        line("listens", format!("http://{}", shop.address));
    }
    if let Some(address) = shop.cluster {
        line("cluster", format!("http://{address} as node {}", parts.node.node));
    }
    if let Some(address) = shop.operators {
        line("operators", format!("http://{address}"));
    }
    if parts.commands.is_some() {
        line("data", parts.node.data.display().to_string());
    }
    line(
        "log",
        match (&parts.log.kafka, &parts.log.registry) {
            (Some(brokers), Some(registry)) => format!("Kafka at {brokers}, schemas at {registry}"),
            _ => format!("embedded, in {}", parts.node.data.join("log").display()),
        },
    );
    if let Some((stores, _)) = &parts.views {
        line("orders", store("PostgreSQL", stores.postgres.as_ref()));
        line("stock", store("MySQL", stores.mysql.as_ref()));
        line("activity", store("MongoDB", stores.mongo.as_ref()));
    }
    lines.join("\n") + "\n"
}

fn store(name: &str, url: Option<&SecretUrl>) -> String {
    url.map_or_else(|| "in memory, rebuilt from the log at each start".to_owned(), |url| format!("{name}, {url}"))
}

/// A first sale, to copy and paste.
#[must_use]
pub fn first_sale(address: SocketAddr) -> String {
    format!(
        r#"ready. A first sale:

  curl -i http://{address}/v1/orders \
    -H 'Content-Type: application/json' -H 'Idempotency-Key: first-sale' \
    -d '{{"customer_id":"ann","currency":"EUR","lines":[{{"sku":"tea","quantity":2,"unit_price":350}}]}}'

Send it twice: the second answer is the first one again. Stop with Ctrl-C; nothing is lost.
"#
    )
}
