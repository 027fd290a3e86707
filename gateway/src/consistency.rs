//! Reading one's own writes: positions of the log that a caller hands from an answer to the next question.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header::{HeaderName, HeaderValue};
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use eventlog::Partition;
use projections::{AsOf, NotYet, Progress, StoreError};
use tokio::time::{Instant, sleep};

use crate::GatewayState;
use crate::problem::{INVALID_CONSISTENCY_TOKEN, NOT_YET_VISIBLE, Problem, VIEW_UNAVAILABLE};
use crate::reading;

/// The header that carries a token, on answers and on questions.
pub const CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("consistency-token");

/// How long until a store is asked again that does not show what its projector had written.
const AGAIN: Duration = Duration::from_millis(20);

/// Longest token in bytes: a position of each partition there is fits well.
const TOKEN_BYTES_MAX: usize = 4_096;

/// Positions: the offset of one record per partition. To callers it is opaque; inside it is the base64 of
/// `topic/partition@offset`, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Token(Vec<(Partition, u64)>);

impl Token {
    /// The position of one record.
    #[must_use]
    pub fn of(partition: Partition, offset: u64) -> Self {
        Self(vec![(partition, offset)])
    }

    /// What a view reflects, given as the offset after the last record that it has folded in each partition.
    #[must_use]
    pub fn reflecting(next: impl IntoIterator<Item = (Partition, u64)>) -> Self {
        Self(next.into_iter().filter_map(|(partition, next)| Some((partition, next.checked_sub(1)?))).collect())
    }

    /// Whether what reflects `next` shows it. Positions of partitions that are not in `next` are no obstacle: nothing of them
    /// was asked for.
    fn is_met(&self, next: &[(Partition, u64)]) -> bool {
        let reached = |of: &Partition| next.iter().find(|(partition, _)| partition == of).map(|(_, next)| *next);
        self.0.iter().all(|(partition, offset)| reached(partition).is_none_or(|next| next > *offset))
    }

    /// As the value of a header; `None` when there is no position.
    #[must_use]
    pub fn to_header(&self) -> Option<HeaderValue> {
        if self.0.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(32 * self.0.len());
        for (partition, offset) in &self.0 {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{partition}@{offset}");
        }
        HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(text)).ok()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(bytes).ok()?).ok()?;
        text.split(',').map(position).collect::<Option<_>>().map(Self)
    }
}

fn position(text: &str) -> Option<(Partition, u64)> {
    let (partition, offset) = text.split_once('@')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

/// The token of a question; empty when there is none.
impl<S: Send + Sync> FromRequestParts<S> for Token {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut all = Self::default();
        for value in parts.headers.get_all(CONSISTENCY_TOKEN) {
            let token = Self::parse(value.as_bytes()).ok_or_else(|| {
                Problem::new(&INVALID_CONSISTENCY_TOKEN, "send a Consistency-Token as it was received, or none")
            })?;
            all.0.extend(token.0);
        }
        Ok(all)
    }
}

/// Where the log ended when the process started, for views that are built anew at each start: before such a view has
/// come so far, it would deny what is there.
#[derive(Debug, Default)]
pub struct Floor {
    ends: Token,
    rebuilding: Vec<(&'static str, AtomicBool)>,
}

impl Floor {
    /// `next` has the offset after the last record of each partition; `views` are those that are built anew.
    pub fn new(
        next: impl IntoIterator<Item = (Partition, u64)>,
        views: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let rebuilding = views.into_iter().map(|view| (view, AtomicBool::new(true))).collect();
        Self { ends: Token::reflecting(next), rebuilding }
    }

    async fn wait(&self, progress: &Progress, view: &str, deadline: Instant) -> Result<(), NotYet> {
        let Some((_, rebuilding)) = self.rebuilding.iter().find(|(name, _)| *name == view) else { return Ok(()) };
        if rebuilding.load(Ordering::Relaxed) {
            progress.wait_for(view, &self.ends.0, deadline).await?;
            rebuilding.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What `query` finds in the generation that it is given, and what that reflects, as soon as it reflects `token`.
///
/// It waits until the projector says so, and believes the store alone: a failover may have moved it back meanwhile, while a
/// query waited for a connection, or behind a proxy. So a query says what its rows reflect, and is repeated until that is enough.
///
/// # Errors
/// `not_yet_visible` after the bound, or `view_unavailable` for a view that has stopped or a store that does not answer.
pub async fn read<T, F: Future<Output = Result<AsOf<T>, StoreError>> + Send>(
    state: &GatewayState,
    view: &str,
    token: &Token,
    query: impl Fn(u32) -> F,
) -> Result<(T, Token), Problem> {
    let deadline = Instant::now() + state.limits.consistency_timeout;
    state
        .floor
        .wait(&state.progress, view, deadline)
        .await
        .map_err(|_| Problem::new(&VIEW_UNAVAILABLE, "the page is being rebuilt from the log").retry_after(1))?;
    loop {
        let generation = state.progress.wait_for(view, &token.0, deadline).await.map_err(not_yet)?;
        let answered = query(generation).await;
        // Another one has become live, and the rows of this one may be gone.
        if state.progress.live(view) != Some(generation) {
            continue;
        }
        let AsOf { found, next } = answered.map_err(reading::failed)?;
        if token.is_met(&next) {
            return Ok((found, Token::reflecting(next)));
        }
        if Instant::now() >= deadline {
            return Err(not_yet(NotYet::Deadline { view: view.to_owned() }));
        }
        sleep(AGAIN).await;
    }
}

fn not_yet(error: NotYet) -> Problem {
    match error {
        NotYet::Deadline { .. } => {
            Problem::new(&NOT_YET_VISIBLE, "the write is recorded, this page does not show it yet").retry_after(1)
        }
        NotYet::Stopped { .. } | NotYet::Unknown { .. } => {
            Problem::new(&VIEW_UNAVAILABLE, "the page is not being kept up to date at the moment").retry_after(5)
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::topics;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let order = Partition { topic: &topics::ORDER, number: 3 };
        let stock = Partition { topic: &topics::STOCK, number: 11 };
        let token = Token::reflecting([(order, 8), (stock, 0), (stock, 1)]);
        let header = token.to_header().unwrap();
        assert_eq!(header, URL_SAFE_NO_PAD.encode("order.events/3@7,stock.events/11@0"));
        assert_eq!(Token::parse(header.as_bytes()), Some(token));
        assert_eq!(Token::reflecting([(order, 0)]).to_header(), None);
    }

    #[test]
    fn a_token_is_met_by_what_was_asked_for_alone() {
        let order = Partition { topic: &topics::ORDER, number: 3 };
        let stock = Partition { topic: &topics::STOCK, number: 11 };
        let token = Token(vec![(order, 7), (stock, 2)]);
        assert!(token.is_met(&[(order, 8)]) && token.is_met(&[(order, 9), (stock, 3)]));
        assert!(!token.is_met(&[(order, 7)]) && !token.is_met(&[(order, 8), (stock, 0)]));
        assert!(Token::default().is_met(&[(order, 0)]));
    }

    #[test]
    fn what_was_not_given_out_is_not_a_token() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text).into_bytes();
        for bad in
            ["", "order.events/12@0", "order.events/0@-1", "order.events/0", "cart.events/0@1", "order.events/0@1,"]
        {
            assert_eq!(Token::parse(&encode(bad)), None, "{bad:?}");
        }
        assert_eq!(Token::parse(b"order.events/0@1"), None);
        assert_eq!(Token::parse(&vec![b'A'; 5_000]), None);
    }
}
