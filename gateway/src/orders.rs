//! `/v1/orders`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{Response, StatusCode};
use domain::ids::{CustomerId, InvalidValue, OrderId, Quantity, Sku, Text};
use domain::money::{Money, parse_currency};
use domain::order::{Line, Lines, OrderCommand, OrderEvent, UnitPrice};
use projections::store::Store;
use projections::view::View;
use projections::views::{OrderDetail, OrderLine, OrderStatus, OrderSummary};
use schemas::topics;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::GatewayState;
use crate::answer::{self, Caller, Success};
use crate::consistency::{self, Token};
use crate::idempotency::{self, fingerprint};
use crate::input::{self, Input};
use crate::json::{Json, Object};
use crate::params::{OrderPath, Parameters, bad_parameter, limit};
use crate::problem::{ORDER_NOT_FOUND, Problem};
use crate::reading::{self, List};

/// What a storefront sends to place an order.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    customer_id: String,
    currency: String,
    lines: Vec<Object<PlaceOrderLine>>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PlaceOrderLine {
    sku: String,
    quantity: i64,
    unit_price: i64,
}

/// What a storefront sends to cancel an order.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CancelOrder {
    reason: String,
}

#[derive(Serialize)]
struct Placed {
    id: OrderId,
    version: u64,
    status: OrderStatus,
    total: Money,
}

#[derive(Serialize)]
struct Cancelled {
    id: OrderId,
    version: u64,
    status: OrderStatus,
}

/// `POST /v1/orders`
pub async fn place(
    State(state): State<Arc<GatewayState>>,
    caller: Caller,
    Json(body): Json<PlaceOrder>,
) -> Result<Response<Body>, Problem> {
    let id = idempotency::order_id(caller.key.command_id());
    let fingerprint = fingerprint("POST /v1/orders", &[], caller.expected_version, &body);
    let (command, total) = body.into_command(id)?;
    let decided = caller.send(&state, &state.orders, id.to_string(), fingerprint, Arc::new(command)).await?;
    answer::decided(&decided, |event| {
        let total = match event {
            Some(OrderEvent::OrderPlaced { total, .. } | OrderEvent::OrderCancelled { total, .. }) => *total,
            // So already, with the same lines: their sum is the same too.
            None => total,
        };
        let body = Placed { id, version: decided.version, status: OrderStatus::Placed, total };
        Success::created(&body).at(format!("/v1/orders/{id}"))
    })
}

/// `POST /v1/orders/{id}/cancel`
pub async fn cancel(
    State(state): State<Arc<GatewayState>>,
    OrderPath(order_id): OrderPath,
    caller: Caller,
    Json(body): Json<CancelOrder>,
) -> Result<Response<Body>, Problem> {
    let id = order_id.to_string();
    let fingerprint = fingerprint("POST /v1/orders/{id}/cancel", &[&id], caller.expected_version, &body);
    let mut input = Input::default();
    let reason = input.take(|| "/reason".into(), Text::parse(&body.reason));
    let command = OrderCommand::CancelOrder { order_id, reason: input.finish(reason)? };
    let decided = caller.send(&state, &state.orders, id, fingerprint, Arc::new(command)).await?;
    answer::decided(&decided, |_| {
        Success::ok(&Cancelled { id: order_id, version: decided.version, status: OrderStatus::Cancelled })
    })
}

impl PlaceOrder {
    /// The command, and the sum of its lines (nothing where that does not fit: the owner refuses it then).
    fn into_command(self, order_id: OrderId) -> Result<(OrderCommand, Money), Problem> {
        let mut input = Input::default();
        let customer_id = input.take(|| "/customer_id".into(), CustomerId::parse(&self.customer_id));
        let currency = input.take(|| "/currency".into(), parse_currency(&self.currency));
        let lines = if self.lines.len() > Lines::MAX {
            // Too many lines are one error, not one for each.
            input.take(
                || "/lines".into(),
                Err(InvalidValue { code: "invalid_length", detail: format!("an order has 1 to {} lines", Lines::MAX) }),
            )
        } else {
            let lines =
                self.lines.iter().enumerate().map(|(at, line)| line.0.check(at, &mut input)).collect::<Vec<_>>();
            let lines: Option<Vec<Line>> = lines.into_iter().collect();
            lines.and_then(|lines| input.take(|| "/lines".into(), Lines::new(lines)))
        };
        let all = (|| Some((customer_id?, currency?, lines?)))();
        let (customer_id, currency, lines) = input.finish(all)?;
        let total = lines.total(currency).unwrap_or_else(|| Money::zero(currency));
        Ok((OrderCommand::PlaceOrder { order_id, customer_id, currency, lines }, total))
    }
}

impl PlaceOrderLine {
    fn check(&self, at: usize, input: &mut Input) -> Option<Line> {
        let sku = input.take(|| format!("/lines/{at}/sku"), Sku::parse(&self.sku));
        let quantity = input.take(|| format!("/lines/{at}/quantity"), input::count(self.quantity, Quantity::new));
        let unit_price = input.take(|| format!("/lines/{at}/unit_price"), UnitPrice::new(self.unit_price));
        Some(Line { sku: sku?, quantity: quantity?, unit_price: unit_price? })
    }
}

#[derive(Serialize)]
struct Shown {
    id: Uuid,
    customer_id: String,
    status: OrderStatus,
    lines: Vec<OrderLine>,
    total: Money,
    placed_at: String,
    version: u64,
}

/// `GET /v1/orders/{id}`
pub async fn show(
    State(state): State<Arc<GatewayState>>,
    OrderPath(id): OrderPath,
    token: Token,
) -> Result<Response<Body>, Problem> {
    let orders = &state.views.order_details;
    let query = |generation| {
        let orders = orders.numbered(generation);
        async move { orders.by_id(id.0).await }
    };
    let (found, reflected) = consistency::read(&state, OrderDetail::NAME, &token, query).await?;
    let parked = reading::is_parked(&state.progress, OrderDetail::NAME, &topics::ORDER, &id.to_string());
    let Some(order) = found else {
        return Err(reading::absent(&ORDER_NOT_FOUND, "this page knows no such order", &reflected, parked));
    };
    let version = order.version;
    let OrderDetail { id, customer_id, status, lines, total, placed_at, .. } = order;
    let body = Shown { id, customer_id, status, lines, total, placed_at: reading::time(placed_at), version };
    let mut response = reading::found(answer::json(StatusCode::OK, answer::bytes(&body)), &reflected);
    response.headers_mut().insert(ETAG, answer::etag(version));
    response.headers_mut().extend(reading::parked_header(parked));
    Ok(response)
}

/// The query of `GET /v1/orders`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    customer_id: String,
    limit: Option<u32>,
    after: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    id: Uuid,
    customer_id: String,
    status: OrderStatus,
    total: Money,
    placed_at: String,
    version: u64,
    /// Later events of the order wait.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    parked: bool,
}

/// `GET /v1/orders?customer_id=…&limit=…&after=…`
pub async fn list(
    State(state): State<Arc<GatewayState>>,
    Parameters(query): Parameters<ListQuery>,
    token: Token,
) -> Result<Response<Body>, Problem> {
    let customer_id = CustomerId::parse(&query.customer_id).map_err(|invalid| bad_parameter("customer_id", invalid))?;
    let limit = limit(query.limit)?;
    let after = reading::cursor(query.after.as_deref())?;
    let (lists, customer) = (&state.views.order_lists, customer_id.as_str());
    let query = |generation| {
        let lists = lists.numbered(generation);
        async move { lists.by_customer(customer, limit, after).await }
    };
    let (page, reflected) = consistency::read(&state, OrderSummary::NAME, &token, query).await?;
    let show = |row: OrderSummary| {
        let parked = reading::is_parked(&state.progress, OrderSummary::NAME, &topics::ORDER, &row.id.to_string());
        Listed::of(row, parked)
    };
    Ok(reading::found(answer::json(StatusCode::OK, answer::bytes(&List::of(page, show))), &reflected))
}

impl Listed {
    fn of(row: OrderSummary, parked: bool) -> Self {
        let OrderSummary { id, customer_id, status, total, placed_at, version } = row;
        Self { id, customer_id, status, total, placed_at: reading::time(placed_at), version, parked }
    }
}
