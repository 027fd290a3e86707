//! What `lonja serve` tells the person who started it.

use std::net::SocketAddr;

use runtime::Config;
use runtime::config::SecretUrl;

/// Where everything is.
#[must_use]
pub fn places(config: &Config, address: SocketAddr) -> String {
    let data = config.node.data.display();
    let log = match (&config.log.kafka, &config.log.registry) {
        (Some(brokers), Some(registry)) => format!("Kafka at {brokers}, schemas at {registry}"),
        _ => format!("embedded, in {}", config.node.data.join("log").display()),
    };
    let stores = &config.stores;
    format!(
        "lonja {version}\n  \
         listens  http://{address}\n  \
         data     {data}\n  \
         log      {log}\n  \
         orders   {postgres}\n  \
         stock    {mysql}\n  \
         activity {mongo}\n",
        version = env!("CARGO_PKG_VERSION"),
        postgres = store("PostgreSQL", stores.postgres.as_ref()),
        mysql = store("MySQL", stores.mysql.as_ref()),
        mongo = store("MongoDB", stores.mongo.as_ref()),
    )
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
