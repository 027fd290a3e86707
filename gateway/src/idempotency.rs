//! What makes a request the same request: its key, and a digest of what it asks for.

use std::io::Write;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use domain::ids::OrderId;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::problem::{IDEMPOTENCY_KEY_INVALID, IDEMPOTENCY_KEY_MISSING, Problem};

/// The header that names a request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Longest key in characters.
const KEY_CHARS_MAX: usize = 255;

/// Namespace of the ids of commands that callers name. Part of the data: it never changes.
const COMMANDS: Uuid = Uuid::from_u128(0x9d0f_6c5e_2b7a_4a53_8e0c_5f1d_7a34_c6b1);

/// Namespace of the ids of orders. Part of the data: it never changes.
const ORDERS: Uuid = Uuid::from_u128(0x1f8b_d9a4_63c7_4de2_b5f0_e9a1_0c82_47d3);

/// Whose key it is, until there are principals.
const ANONYMOUS: &str = "anonymous";

/// A key of 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Accepts 1 to 255 visible ASCII characters.
    ///
    /// # Errors
    /// `idempotency_key_invalid`.
    pub fn parse(text: &[u8]) -> Result<Self, Problem> {
        let visible = text.iter().all(u8::is_ascii_graphic);
        if text.is_empty() || text.len() > KEY_CHARS_MAX || !visible {
            return Err(Problem::new(&IDEMPOTENCY_KEY_INVALID, "a key has 1 to 255 visible ASCII characters"));
        }
        Ok(Self(text.iter().copied().map(char::from).collect()))
    }

    fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
        match (keys.next(), keys.next()) {
            (Some(key), None) => Self::parse(key.as_bytes()),
            (Some(_), Some(_)) => Err(Problem::new(&IDEMPOTENCY_KEY_INVALID, "send one Idempotency-Key")),
            (None, _) => Err(Problem::new(
                &IDEMPOTENCY_KEY_MISSING,
                "name the request by an Idempotency-Key of your choice, for example a new UUID, and repeat it on retries",
            )),
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the command that this key names: the same key is the same command on every node, for ever.
    #[must_use]
    pub fn command_id(&self) -> Uuid {
        let mut name = Vec::with_capacity(ANONYMOUS.len() + 1 + self.0.len());
        name.extend_from_slice(ANONYMOUS.as_bytes());
        name.push(0);
        name.extend_from_slice(self.0.as_bytes());
        Uuid::new_v5(&COMMANDS, &name)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::from_headers(&parts.headers)
    }
}

/// The id of the order that a command places: a repeated command meets the first order.
#[must_use]
pub fn order_id(command_id: Uuid) -> OrderId {
    OrderId(Uuid::new_v5(&ORDERS, command_id.as_bytes()))
}

/// Digest of what a request asks for, whatever the spelling: the first 16 bytes of a SHA-256 over the route, the parts
/// of its path, the version it insists on, and the body as it was understood.
#[must_use]
pub fn fingerprint(route: &str, path: &[&str], expected_version: Option<u64>, body: &impl Serialize) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update(route);
    for part in path {
        hasher.update([0]);
        hasher.update(part);
    }
    hasher.update([0]);
    hasher.update(expected_version.map_or(0, |version| version.wrapping_add(1)).to_be_bytes());
    serde_json::to_writer(Hashing(&mut hasher), body).expect("a hasher takes all, and bodies have text keys");
    let digest = hasher.finalize();
    u128::from_be_bytes(std::array::from_fn(|at| digest[at]))
}

struct Hashing<'h>(&'h mut Sha256);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_one_command_for_ever() {
        let id = IdempotencyKey::parse(b"first-sale").unwrap().command_id();
        assert_eq!(id.to_string(), "9c0ab802-4a7c-5f9a-a791-d0f0baf0cdf5");
        assert_eq!(order_id(id).to_string(), "16bf071c-9fba-51a2-bf01-9f19a6346ec7");
    }

    #[test]
    fn a_key_has_1_to_255_visible_ascii_characters() {
        assert!(IdempotencyKey::parse(&[b'~'; 255]).is_ok());
        for bad in [&b""[..], &[b'a'; 256], b"a b", b"a\tb", "ä".as_bytes(), b"\x7f"] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn everything_that_a_request_asks_for_counts() {
        let of = |route, path: &[&str], version, body: &str| fingerprint(route, path, version, &body);
        let all = [
            of("POST /a/{x}", &["1"], None, "b"),
            of("DELETE /a/{x}", &["1"], None, "b"),
            of("POST /a/{x}", &["2"], None, "b"),
            of("POST /a/{x}", &["1"], Some(0), "b"),
            of("POST /a/{x}", &["1"], Some(1), "b"),
            of("POST /a/{x}", &["1"], None, "c"),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(all[0], of("POST /a/{x}", &["1"], None, "b"));
    }
}
