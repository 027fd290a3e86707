//! Parts of the path, and the query.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use domain::ids::{InvalidValue, OrderId, ReservationId, Sku};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::problem::{INVALID_PATH, INVALID_QUERY, InputError, Problem};

/// `{id}`: an order's.
pub struct OrderPath(pub OrderId);

/// `{sku}`.
pub struct SkuPath(pub Sku);

/// `{sku}` and `{reservation_id}`.
pub struct ReservationPath(pub Sku, pub ReservationId);

/// `{key}`: an idempotency key, not checked yet.
pub struct KeyPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for OrderPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text: String = segments(parts, state).await?;
        part("{id}", parse_order_id(&text)).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SkuPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text: String = segments(parts, state).await?;
        part("{sku}", Sku::parse(&text)).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ReservationPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (sku, reservation): (String, String) = segments(parts, state).await?;
        Ok(Self(part("{sku}", Sku::parse(&sku))?, part("{reservation_id}", ReservationId::parse(&reservation))?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        segments(parts, state).await.map(Self)
    }
}

/// Reads an order's id in its usual form, with hyphens.
///
/// # Errors
/// `invalid_uuid`.
pub fn parse_order_id(text: &str) -> Result<OrderId, InvalidValue> {
    let invalid = || InvalidValue { code: "invalid_uuid", detail: "an order id is a UUID with hyphens".into() };
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return Err(invalid());
    }
    Uuid::try_parse(text).map(OrderId).map_err(|_| invalid())
}

fn part<T>(name: &str, parsed: Result<T, InvalidValue>) -> Result<T, Problem> {
    parsed.map_err(|invalid| {
        let detail = invalid.detail.clone();
        Problem::input(&INVALID_PATH, detail, vec![InputError::new(name, invalid)])
    })
}

async fn segments<T: DeserializeOwned + Send, S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<T, Problem> {
    let Path(segments) = Path::from_request_parts(parts, state)
        .await
        .map_err(|rejection| Problem::new(&INVALID_PATH, rejection.body_text()))?;
    Ok(segments)
}

/// The query. Its type denies unknown fields.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(parameters) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::new(&INVALID_QUERY, rejection.body_text()))?;
        Ok(Self(parameters))
    }
}

/// A parameter of the query that breaks a rule.
#[must_use]
pub fn bad_parameter(name: &str, invalid: InvalidValue) -> Problem {
    let detail = format!("{name}: {}", invalid.detail);
    Problem::input(&INVALID_QUERY, detail, vec![InputError::new(format!("?{name}"), invalid)])
}

/// Most items of one page of a list.
const LIMIT_MAX: u32 = 100;

/// Items of a page when the caller does not say.
const LIMIT_DEFAULT: u32 = 20;

/// How many items the caller wants: 1 to 100, or 20.
///
/// # Errors
/// `invalid_query`.
pub fn limit(limit: Option<u32>) -> Result<usize, Problem> {
    match limit.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit as usize),
        _ => {
            let detail = format!("a limit is 1 to {LIMIT_MAX}");
            Err(bad_parameter("limit", InvalidValue { code: "out_of_range", detail }))
        }
    }
}
