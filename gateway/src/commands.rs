//! `/v1/commands`: what became of a command.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::commands::{Lookup, Position};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use schemas::topics::COMMAND_UNCHANGED;
use serde::Serialize;

use crate::GatewayState;
use crate::answer;
use crate::consistency::Token;
use crate::idempotency::IdempotencyKey;
use crate::params::KeyPath;
use crate::problem::{COMMAND_UNKNOWN, Problem};
use crate::reading;

#[derive(Serialize, Default)]
struct Shown<'a> {
    key: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<ShownPosition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(flatten)]
    facts: Option<&'a BTreeMap<String, i64>>,
}

#[derive(Serialize)]
struct ShownPosition {
    topic: &'static str,
    partition: u32,
    offset: u64,
}

/// `GET /v1/commands/{key}`
pub async fn show(State(state): State<Arc<GatewayState>>, KeyPath(key): KeyPath) -> Result<Response<Body>, Problem> {
    let key = IdempotencyKey::parse(key.as_bytes())?;
    let lookup = state.commands.find(key.command_id()).await;
    let shown = Shown { key: key.as_str(), ..Shown::default() };
    let (shown, token) = match &lookup {
        Lookup::Absent => return Err(Problem::new(&COMMAND_UNKNOWN, "no command of the last 24 hours has this key")),
        Lookup::Pending => (Shown { status: "pending", ..shown }, Token::default()),
        Lookup::Decided { position, version, record_type, refusal } => {
            let status = match refusal {
                Some(_) => "refused",
                None if record_type == COMMAND_UNCHANGED.name => "unchanged",
                None => "accepted",
            };
            let shown = Shown {
                status,
                position: Some(ShownPosition::from(*position)),
                version: Some(*version),
                record_type: Some(record_type),
                code: refusal.as_ref().map(|refusal| refusal.code.as_str()),
                detail: refusal.as_ref().map(|refusal| refusal.detail.as_str()),
                facts: refusal.as_ref().map(|refusal| &refusal.facts),
                ..shown
            };
            (shown, Token::of(position.partition, position.offset))
        }
    };
    Ok(reading::found(answer::json(StatusCode::OK, answer::bytes(&shown)), &token))
}

impl From<Position> for ShownPosition {
    fn from(position: Position) -> Self {
        let Position { partition, offset } = position;
        Self { topic: partition.topic.name, partition: partition.number, offset }
    }
}
