//! `/v1/activity`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use domain::ids::{InvalidValue, Sku};
use eventlog::Partition;
use projections::store::Store;
use projections::view::View;
use projections::views::{Activity, Gist};
use schemas::topics;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::GatewayState;
use crate::answer;
use crate::consistency::{self, Token};
use crate::params::{Parameters, bad_parameter, limit, parse_order_id};
use crate::problem::Problem;
use crate::reading::{self, List};

/// The query of `GET /v1/activity`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    subject: String,
    limit: Option<u32>,
    after: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    id: Uuid,
    subject: String,
    r#type: Cow<'static, str>,
    at: String,
    version: u64,
    data: Gist,
}

/// `GET /v1/activity?subject=order/{id}&limit=…&after=…`
pub async fn list(
    State(state): State<Arc<GatewayState>>,
    Parameters(query): Parameters<ListQuery>,
    token: Token,
) -> Result<Response<Body>, Problem> {
    let (home, key) = home(&query.subject).map_err(|invalid| bad_parameter("subject", invalid))?;
    let limit = limit(query.limit)?;
    let after = reading::cursor(query.after.as_deref())?;
    let (feed, subject) = (&state.views.activities, query.subject.as_str());
    let query = |generation| {
        let feed = feed.numbered(generation);
        async move { feed.by_subject(home, subject, limit, after).await }
    };
    let (page, reflected) = consistency::read(&state, Activity::NAME, &token, query).await?;
    let parked = reading::is_parked(&state.progress, Activity::NAME, home.topic, &key);
    let body = answer::bytes(&List::of(page, Listed::from));
    let mut response = reading::found(answer::json(StatusCode::OK, body), &reflected);
    response.headers_mut().extend(reading::parked_header(parked));
    Ok(response)
}

/// The partition in which everything about `subject` stands, and its records' key.
fn home(subject: &str) -> Result<(Partition, String), InvalidValue> {
    let (topic, key) = match subject.split_once('/') {
        Some(("order", id)) => (&topics::ORDER, parse_order_id(id)?.to_string()),
        Some(("stock", sku)) => (&topics::STOCK, Sku::parse(sku)?.to_string()),
        _ => {
            let detail = "a subject is order/{id} or stock/{sku}".into();
            return Err(InvalidValue { code: "invalid_subject", detail });
        }
    };
    Ok((Partition::of(topic, key.as_bytes()), key))
}

impl From<Activity> for Listed {
    fn from(row: Activity) -> Self {
        let Activity { id, subject, kind, at, version, data, .. } = row;
        Self { id, subject, r#type: kind, at: reading::time(at), version, data }
    }
}
