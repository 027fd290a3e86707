//! One HTTP/1.1 connection that is kept alive. A load generator must cost little beside what it measures, so there is no
//! pool, no redirect, no cookie: one socket, one request at a time.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Names a command, so that it can be sent again.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Positions that an answer speaks of.
pub const CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("consistency-token");

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The header `name` as text, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A kept-alive connection. After an error it is of no use any more: connect again.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Connects to `address`. Must be called within a tokio runtime, on which the socket is then driven.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true).context("setting TCP_NODELAY")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("opening HTTP/1.1")?;
        // An error of the connection reaches whoever waits for an answer; there is nobody else to tell.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, host: address.to_string() })
    }

    /// Sends one command and waits for the whole answer.
    ///
    /// # Errors
    /// When the connection breaks: the command may have been carried out.
    pub async fn post(&mut self, path: &str, key: &str, body: Bytes) -> Result<Answer> {
        self.send(Method::POST, path, &[(IDEMPOTENCY_KEY, key)], body).await
    }

    /// Asks a question.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// Sends any request with these headers.
    ///
    /// # Errors
    /// When the request cannot be made or the connection breaks.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).with_context(|| format!("making a request to {path}"))?;
        self.sender.ready().await.context("the connection is closed")?;
        let answer = self.sender.send_request(request).await.with_context(|| format!("asking {path}"))?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.with_context(|| format!("reading the answer of {path}"))?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}
