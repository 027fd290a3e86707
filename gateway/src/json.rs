//! Bodies of requests: strict JSON. Unknown and repeated fields, wrong types, bad UTF-8, numbers that do not fit and
//! anything after the end are errors of the caller, with a JSON Pointer to the place.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_path_to_error::{Path, Segment};
use tokio::time::timeout;

use crate::GatewayState;
use crate::problem::{BODY_TOO_LARGE, InputError, MALFORMED_REQUEST, Problem, REQUEST_TIMEOUT, UNSUPPORTED_MEDIA_TYPE};

/// A body of JSON.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<GatewayState>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<GatewayState>) -> Result<Self, Problem> {
        check_media_type(request.headers())?;
        let limits = &state.limits;
        let reading = read(request.into_body(), limits.body_bytes_max);
        let body = timeout(limits.body_timeout, reading)
            .await
            .map_err(|_| Problem::new(&REQUEST_TIMEOUT, "the body did not arrive in time"))??;
        parse(&body).map(Self)
    }
}

/// Accepts `application/json` and, as its only parameter, `charset=utf-8`.
fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (media, parameter) = text.split_once(';').map_or((text, None), |(media, rest)| (media, Some(rest.trim())));
    let utf8 = parameter.is_none_or(|parameter| {
        ["charset=utf-8", "charset=\"utf-8\""].iter().any(|utf8| parameter.eq_ignore_ascii_case(utf8))
    });
    if media.trim().eq_ignore_ascii_case("application/json") && utf8 {
        return Ok(());
    }
    Err(Problem::new(&UNSUPPORTED_MEDIA_TYPE, "send the body as Content-Type: application/json"))
}

async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Problem::new(&BODY_TOO_LARGE, format!("a body has at most {bytes_max} bytes")))
        }
        Err(_) => Err(malformed("", "incomplete", "the body ended early".into())),
    }
}

/// Reads `body`, which must be one JSON object.
///
/// # Errors
/// `malformed_request`, with the place.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        malformed("", "invalid_utf8", format!("the body is not UTF-8 after byte {}", error.valid_up_to()))
    })?;
    // Errors are rare, and finding their place costs: it is looked for only then.
    serde_json::from_str::<Object<T>>(text).map(|object| object.0).map_err(|error| explain::<T>(text, &error))
}

fn explain<T: DeserializeOwned>(text: &str, first: &serde_json::Error) -> Problem {
    let deserializer = &mut serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, Object<T>>(deserializer) {
        Err(error) => {
            let pointer = pointer(error.path());
            malformed(&pointer, rule(error.inner()), error.inner().to_string())
        }
        Ok(_) => malformed("", rule(first), first.to_string()),
    }
}

fn malformed(pointer: &str, code: &'static str, detail: String) -> Problem {
    let mut place = pointer.to_owned();
    place.truncate(place.floor_char_boundary(256));
    let errors = vec![InputError { pointer: place, code, detail: shorten(&detail) }];
    Problem::input(&MALFORMED_REQUEST, detail, errors)
}

fn shorten(text: &str) -> String {
    text[..text.floor_char_boundary(300)].to_owned()
}

/// The rule that was broken. `serde` tells it in words only; the table of `tests` holds these words still.
fn rule(error: &serde_json::Error) -> &'static str {
    let text = error.to_string();
    let rules = [
        ("unknown field", "unknown_field"),
        ("duplicate field", "duplicate_field"),
        ("missing field", "missing_field"),
        ("invalid type", "wrong_type"),
        ("invalid value", "wrong_type"),
        ("number out of range", "number_out_of_range"),
        ("recursion limit exceeded", "too_deep"),
        ("trailing characters", "trailing_data"),
    ];
    rules.iter().find(|(words, _)| text.starts_with(words)).map_or("syntax", |(_, rule)| rule)
}

/// RFC 6901.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

/// A JSON object and nothing else: alone, a derived struct is read from an array too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<T: Serialize> Serialize for Object<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Self::Value, M::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[cfg(test)]
mod tests;
