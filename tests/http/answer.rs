//! An answer, and what tests expect of it.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer of the shop.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
        Self { status, headers, body }
    }

    /// The header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn token(&self) -> &str {
        let token = self.header("consistency-token");
        assert!(!token.is_empty(), "no token: {self:?}");
        token
    }

    pub fn is_replayed(&self) -> bool {
        self.header("idempotent-replayed") == "true"
    }

    /// Expects this status and exactly this body.
    #[track_caller]
    pub fn expect(self, status: u16, body: Value) -> Self {
        assert_eq!((self.status, &self.body), (status, &body), "{self:?}");
        assert_eq!(self.header("content-type"), "application/json");
        self
    }

    /// Expects a problem of this status and code, in the form that all have.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("/errors/{code}"));
        for text in ["title", "detail"] {
            assert!(self.body[text].as_str().is_some_and(|text| !text.is_empty()), "no {text}: {self:?}");
        }
        self
    }

    /// The places and rules of a problem with the input.
    pub fn errors(&self) -> Vec<(&str, &str)> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |error: &'_ Value, name: &str| error[name].as_str().map(str::to_owned);
        assert!(errors.iter().all(|error| text(error, "detail").is_some()), "{self:?}");
        errors.iter().map(|error| (error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap())).collect()
    }
}
