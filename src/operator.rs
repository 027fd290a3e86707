//! The verbs of operators are clients of the operators' API of a running process: so they work on every log, and on views in
//! memory. This is all that they know of HTTP.

use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::{Method, RequestBuilder, Url};
use runtime::config::OperatorConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Failure;

/// How long a process may take to accept a connection …
const CONNECTING: Duration = Duration::from_secs(5);
/// … and to answer: a comparison of two generations reads all of both.
const PATIENCE: Duration = Duration::from_secs(900);

/// Asks the operators' API of one process.
pub struct Client {
    http: reqwest::Client,
    config: OperatorConfig,
}

/// What an error says that the API answered.
#[derive(Debug, Clone, Deserialize)]
pub struct Problem {
    /// Its stable name.
    pub code: String,
    /// What it is.
    pub title: String,
    /// What it is this time.
    pub detail: String,
    /// Numbers behind it, by name.
    #[serde(flatten)]
    pub facts: serde_json::Map<String, Value>,
}

/// Why there is no answer of the kind that was asked for.
#[derive(Debug)]
pub enum Refused {
    /// The API said no.
    Problem(Problem),
    /// It did not answer, or not in a way that can be understood.
    Failed(anyhow::Error),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Other(match refused {
            Refused::Problem(Problem { code, title, detail, .. }) => anyhow!("{title}: {detail} ({code})"),
            Refused::Failed(error) => error,
        })
    }
}

impl Client {
    /// A client of the process that `config` names.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn new(config: &OperatorConfig) -> Result<Self, Failure> {
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().connect_timeout(CONNECTING).build()?,
            config: config.clone(),
        })
    }

    /// Asks. What is `None` is not sent.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, Option<String>)]) -> Result<T, Refused> {
        let url = self.url(path, query)?;
        self.send(self.http.get(url)).await
    }

    /// Has something done, under the operator's name.
    ///
    /// # Errors
    /// When there is no good answer.
    pub async fn change<T: DeserializeOwned>(&self, method: Method, path: &str, body: &Value) -> Result<T, Refused> {
        let request = self.http.request(method, self.url(path, &[])?);
        self.send(request.header("Lonja-Operator", &self.config.operator).json(body)).await
    }

    fn url(&self, path: &str, query: &[(&str, Option<String>)]) -> Result<Url, Refused> {
        let base = self.config.operators.trim_end_matches('/');
        let url = Url::parse(&format!("{base}{path}")).with_context(|| format!("{base} is not the URL of a process"));
        let mut url = url.map_err(Refused::Failed)?;
        for (name, value) in query.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ok(url)
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Refused> {
        self.try_send(request).await.unwrap_or_else(|error| Err(Refused::Failed(error)))
    }

    async fn try_send<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<Result<T, Refused>> {
        let url = &self.config.operators;
        let answer = request.timeout(PATIENCE).send().await;
        let answer = answer.with_context(|| {
            format!("nobody answers at {url}; name the operators' API of a process by --operators or LONJA_OPERATORS")
        })?;
        let status = answer.status();
        let bytes = answer.bytes().await.with_context(|| format!("{url} broke off its answer"))?;
        if status.is_success() {
            let read = serde_json::from_slice(&bytes);
            return Ok(Ok(read.with_context(|| format!("{url} gave an answer that is not understood"))?));
        }
        match serde_json::from_slice(&bytes) {
            Ok(problem) => Ok(Err(Refused::Problem(problem))),
            Err(_) => Err(anyhow!("{url} answered {status}: is it the operators' API?")),
        }
    }
}

/// Runs a verb to its end.
///
/// # Errors
/// What it says.
pub fn run(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(verb)
}
