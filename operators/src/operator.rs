//! Who does something.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::problem::{OPERATOR_INVALID, OPERATOR_MISSING, Problem};

/// The header in which an operator says who they are.
pub const HEADER: &str = "lonja-operator";

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// The name under which something is done. A handler that changes something takes it first, and nothing else can give one
/// to the audit: so nothing is done without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator(String);

impl Operator {
    /// The name, such as `ann@desk`.
    ///
    /// # Errors
    /// `operator_invalid` when it is not 1 to 128 visible ASCII characters.
    pub fn named(name: &str) -> Result<Self, Problem> {
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            return Ok(Self(name.to_owned()));
        }
        Err(Problem::new(&OPERATOR_INVALID, format!("a name is 1 to {NAME_BYTES_MAX} visible ASCII characters")))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(HEADER).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::named(value.to_str().unwrap_or_default()),
            (Some(_), Some(_)) => Err(Problem::new(&OPERATOR_INVALID, "the header Lonja-Operator stands there twice")),
            (None, _) => Err(Problem::new(&OPERATOR_MISSING, "say who you are in the header Lonja-Operator")),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn read(headers: &[&str]) -> Result<Operator, Problem> {
        let request = headers.iter().fold(Request::builder(), |request, name| request.header(HEADER, *name));
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        Operator::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn who_changes_something_says_who_they_are() {
        assert_eq!(read(&["ann@desk"]).await.unwrap().as_str(), "ann@desk");
        let long = "x".repeat(129);
        for (headers, code) in [
            (&[][..], "operator_missing"),
            (&[""], "operator_invalid"),
            (&["ann smith"], "operator_invalid"),
            (&[&long], "operator_invalid"),
            (&["ann", "bob"], "operator_invalid"),
        ] {
            assert_eq!(read(headers).await.unwrap_err().code(), code, "{headers:?}");
        }
    }
}
