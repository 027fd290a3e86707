//! The funnel: only this file knows how a shop is started and spoken to.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Args, FromArgMatches};
use lonja::cli::Context;
use lonja::roles::Parts;
use lonja::shop::Shop;
use projections::{Folds, Kind};
use reqwest::Method;
use runtime::config::{LogFormat, TelemetryConfig};
use runtime::{Config, Telemetry};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::answer::Answer;
use crate::real;

/// A running shop and somebody who speaks to it.
pub struct TestShop {
    shop: Option<Shop>,
    pub config: Config,
    role: Role,
    http: reqwest::Client,
    data: TempDir,
}

/// What of a shop a process runs.
#[derive(Debug, Clone)]
pub enum Role {
    All,
    Gateway,
    Commands(Vec<Context>),
    Projections(Vec<Kind>),
}

impl Role {
    fn parts<'c>(&self, config: &'c Config) -> Parts<'c> {
        let all = Parts::all(config);
        match self {
            Self::All => all,
            Self::Gateway => {
                Parts { commands: None, cluster: None, views: Some((&config.stores, Folds::Memory)), ..all }
            }
            Self::Commands(contexts) => Parts {
                http: None,
                views: None,
                operators: None,
                commands: Some((&config.commands, contexts.clone())),
                ..all
            },
            Self::Projections(kinds) => {
                let views = Some((&config.stores, Folds::Only(kinds.clone())));
                Parts { http: None, commands: None, views, ..all }
            }
        }
    }
}

/// Which log and stores.
#[derive(Debug, Clone, Copy)]
pub enum Home {
    Embedded,
    Real,
}

/// Runs `test` on the embedded shop that such tests share.
pub fn on_embedded(test: impl AsyncFn(&TestShop)) {
    static SHARED: OnceLock<(Runtime, TestShop)> = OnceLock::new();
    on_shared(&SHARED, Home::Embedded, test);
}

/// Runs `test` on the shop with real servers that such tests share.
pub fn on_real(test: impl AsyncFn(&TestShop)) {
    static SHARED: OnceLock<(Runtime, TestShop)> = OnceLock::new();
    on_shared(&SHARED, Home::Real, test);
}

fn on_shared(shared: &'static OnceLock<(Runtime, TestShop)>, home: Home, test: impl AsyncFn(&TestShop)) {
    let (runtime, shop) = shared.get_or_init(|| {
        let runtime = runtime();
        let shop = runtime.block_on(TestShop::start(home, |_| {}));
        (runtime, shop)
    });
    runtime.block_on(test(shop));
}

/// Runs `test` with a runtime of its own.
pub fn alone(test: impl Future<Output = ()>) {
    runtime().block_on(test);
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Metrics and logs exist once per process.
fn telemetry() -> &'static Telemetry {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| {
        let log = std::env::var("LONJA_LOG").unwrap_or_else(|_| "warn".into());
        Telemetry::init(&TelemetryConfig { log_format: LogFormat::Human, log, otlp: None, trace_ratio: 1.0 }).unwrap()
    })
}

/// The settings of a shop in `data`, whatever the environment says.
fn config(data: &Path) -> Config {
    let command = Config::augment_args(clap::Command::new("lonja")).mut_args(|argument| argument.env(None::<&str>));
    let data = data.to_str().unwrap();
    let node = format!("test-{}", Uuid::new_v4().simple());
    let any = "127.0.0.1:0";
    let arguments = ["lonja", "--data", data, "--listen", any, "--operators-listen", any, "--node", &node];
    Config::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
}

impl TestShop {
    /// Starts a shop of its own, with nothing in it.
    pub async fn start(home: Home, change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = config(data.path());
        config.http.consistency_timeout = Duration::from_secs(10);
        config.http.command_timeout = Duration::from_secs(30);
        if let Home::Real = home {
            real::prepare(&mut config).await;
        }
        change(&mut config);
        Self::open_new(config, Role::All, data).await
    }

    /// Starts a node of its own beside `self`: on the same log and stores.
    pub async fn beside(&self, role: Role) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut own = config(data.path());
        own.log = self.config.log.clone();
        own.stores = self.config.stores.clone();
        own.http = self.config.http.clone();
        Self::open_new(own, role, data).await
    }

    async fn open_new(config: Config, role: Role, data: TempDir) -> Self {
        let mut shop = Self { shop: None, config, role, http: reqwest::Client::new(), data };
        shop.open().await;
        shop
    }

    /// Starts it again after [`Self::close`].
    pub async fn open(&mut self) {
        let shop = Shop::start_parts(&self.role.parts(&self.config), telemetry()).await;
        let shop = shop.unwrap_or_else(|failure| panic!("{failure}"));
        tokio::time::timeout(Duration::from_secs(60), shop.ready()).await.expect("the shop is not ready in time");
        self.shop = Some(shop);
    }

    /// Stops it in order.
    pub async fn close(&mut self) {
        self.shop.take().unwrap().stop().await.unwrap_or_else(|failure| panic!("{failure}"));
        // Connections of the old process are of no use.
        self.http = reqwest::Client::new();
    }

    pub fn state_dir(&self) -> PathBuf {
        self.data.path().join("state")
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.shop.as_ref().unwrap().address
    }

    /// A request, to be changed before it is sent.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address()))
    }

    /// A request to the operators' API.
    pub async fn operate(&self, method: Method, path: &str) -> Answer {
        let address = self.shop.as_ref().unwrap().operators.unwrap();
        self.send(self.http.request(method, format!("http://{address}{path}"))).await
    }

    /// The same with a body, and with the name of who asks.
    pub async fn operate_with(&self, method: Method, path: &str, operator: Option<&str>, body: &Value) -> Answer {
        let address = self.shop.as_ref().unwrap().operators.unwrap();
        let request = self.http.request(method, format!("http://{address}{path}")).json(body);
        self.send(match operator {
            Some(operator) => request.header("Lonja-Operator", operator),
            None => request,
        })
        .await
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap()).await
    }

    /// A command, with a key that nobody else uses.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_as(&new_key(), path, body).await
    }

    /// A command with this key.
    pub async fn post_as(&self, key: &str, path: &str, body: Value) -> Answer {
        let request = self.request(Method::POST, path).header("Idempotency-Key", key);
        self.send(request.json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).header("Idempotency-Key", new_key())).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Reads, at least as new as the answer `seen`.
    pub async fn get_after(&self, seen: &Answer, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).header("Consistency-Token", seen.token())).await
    }

    /// Receives `units` of `sku`, which is new.
    pub async fn stock_up(&self, sku: &str, units: u32) -> Answer {
        let body = serde_json::json!({"quantity": units, "reference": "first delivery"});
        let answer = self.post(&format!("/v1/stock/{sku}/receipts"), body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
    }

    /// Places an order of `customer`; its id.
    pub async fn sell_to(&self, customer: &str) -> (String, Answer) {
        let answer = self.post("/v1/orders", order(customer)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        (answer.body["id"].as_str().unwrap().to_owned(), answer)
    }
}

/// A new idempotency key.
pub fn new_key() -> String {
    Uuid::new_v4().to_string()
}

/// A name that nobody else uses.
pub fn name(what: &str) -> String {
    format!("{what}-{}", Uuid::new_v4().simple())
}

/// An order of 799 cents.
pub fn order(customer: &str) -> Value {
    serde_json::json!({"customer_id": customer, "currency": "EUR", "lines": [
        {"sku": "tea", "quantity": 2, "unit_price": 350},
        {"sku": "spoon", "quantity": 1, "unit_price": 99},
    ]})
}
