//! `/v1/stock`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{Response, StatusCode};
use domain::ids::{DeliveredQuantity, Quantity, ReservationId, Text};
use domain::stock::{StockCommand, StockEvent};
use projections::store::Store;
use projections::view::View;
use projections::views::StockLevel;
use schemas::topics;
use serde::{Deserialize, Serialize};

use crate::GatewayState;
use crate::answer::{self, Caller, Success};
use crate::consistency::{self, Token};
use crate::idempotency::fingerprint;
use crate::input::{self, Input};
use crate::json::Json;
use crate::params::{ReservationPath, SkuPath};
use crate::problem::{Problem, STOCK_ITEM_NOT_FOUND};
use crate::reading;

/// What a warehouse sends when units arrived.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    quantity: i64,
    reference: String,
}

/// What a storefront sends to hold units.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    reservation_id: String,
    quantity: i64,
}

#[derive(Serialize)]
struct Received<'a> {
    sku: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_hand: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<u64>,
    version: u64,
}

#[derive(Serialize)]
struct Reserved<'a> {
    sku: &'a str,
    reservation_id: &'a str,
    quantity: u32,
    version: u64,
}

#[derive(Serialize)]
struct Released<'a> {
    sku: &'a str,
    reservation_id: &'a str,
    version: u64,
}

/// `POST /v1/stock/{sku}/receipts`
pub async fn receive(
    State(state): State<Arc<GatewayState>>,
    SkuPath(sku): SkuPath,
    caller: Caller,
    Json(body): Json<Receipt>,
) -> Result<Response<Body>, Problem> {
    let fingerprint = fingerprint("POST /v1/stock/{sku}/receipts", &[sku.as_str()], caller.expected_version, &body);
    let mut input = Input::default();
    let quantity = input.take(|| "/quantity".into(), input::count(body.quantity, DeliveredQuantity::new));
    let reference = input.take(|| "/reference".into(), Text::parse(&body.reference));
    let (quantity, reference) = input.finish(quantity.zip(reference))?;
    let command = Arc::new(StockCommand::ReceiveStock { sku: sku.clone(), quantity, reference });
    let decided = caller.send(&state, &state.stock, sku.to_string(), fingerprint, command).await?;
    answer::decided(&decided, |event| {
        let mut body = Received { sku: sku.as_str(), on_hand: None, available: None, version: decided.version };
        match event {
            Some(StockEvent::StockReceived { on_hand_after, available_after, .. }) => {
                (body.on_hand, body.available) = (Some(*on_hand_after), Some(*available_after));
                Success::created(&body)
            }
            // The delivery was booked before, and what is there has changed since: no numbers of today.
            _ => Success::ok(&body),
        }
    })
}

/// `POST /v1/stock/{sku}/reservations`
pub async fn reserve(
    State(state): State<Arc<GatewayState>>,
    SkuPath(sku): SkuPath,
    caller: Caller,
    Json(body): Json<Reservation>,
) -> Result<Response<Body>, Problem> {
    let route = "POST /v1/stock/{sku}/reservations";
    let fingerprint = fingerprint(route, &[sku.as_str()], caller.expected_version, &body);
    let mut input = Input::default();
    let reservation_id = input.take(|| "/reservation_id".into(), ReservationId::parse(&body.reservation_id));
    let quantity = input.take(|| "/quantity".into(), input::count(body.quantity, Quantity::new));
    let (reservation_id, quantity) = input.finish(reservation_id.zip(quantity))?;
    let command = StockCommand::ReserveStock { sku: sku.clone(), reservation_id, quantity };
    let decided = caller.send(&state, &state.stock, sku.to_string(), fingerprint, Arc::new(command)).await?;
    // The same reservation twice is the same answer, so it is made from the request alone.
    answer::decided(&decided, |_| {
        Success::created(&Reserved {
            sku: sku.as_str(),
            reservation_id: &body.reservation_id,
            quantity: quantity.get(),
            version: decided.version,
        })
    })
}

/// `DELETE /v1/stock/{sku}/reservations/{reservation_id}`
pub async fn release(
    State(state): State<Arc<GatewayState>>,
    ReservationPath(sku, reservation_id): ReservationPath,
    caller: Caller,
) -> Result<Response<Body>, Problem> {
    let route = "DELETE /v1/stock/{sku}/reservations/{reservation_id}";
    let path = [sku.as_str(), reservation_id.as_str()];
    let fingerprint = fingerprint(route, &path, caller.expected_version, &());
    let command = StockCommand::ReleaseReservation { sku: sku.clone(), reservation_id: reservation_id.clone() };
    let decided = caller.send(&state, &state.stock, sku.to_string(), fingerprint, Arc::new(command)).await?;
    answer::decided(&decided, |_| {
        let (sku, reservation_id) = (sku.as_str(), reservation_id.as_str());
        Success::ok(&Released { sku, reservation_id, version: decided.version })
    })
}

/// `GET /v1/stock/{sku}`
pub async fn show(
    State(state): State<Arc<GatewayState>>,
    SkuPath(sku): SkuPath,
    token: Token,
) -> Result<Response<Body>, Problem> {
    let (levels, name) = (&state.views.stock_levels, sku.as_str());
    let query = |generation| {
        let levels = levels.numbered(generation);
        async move { levels.by_sku(name).await }
    };
    let (found, reflected) = consistency::read(&state, StockLevel::NAME, &token, query).await?;
    let parked = reading::is_parked(&state.progress, StockLevel::NAME, &topics::STOCK, sku.as_str());
    let Some(level) = found else {
        return Err(reading::absent(&STOCK_ITEM_NOT_FOUND, "this page knows no stock of this SKU", &reflected, parked));
    };
    let mut response = reading::found(answer::json(StatusCode::OK, answer::bytes(&level)), &reflected);
    response.headers_mut().insert(ETAG, answer::etag(level.version));
    response.headers_mut().extend(reading::parked_header(parked));
    Ok(response)
}
