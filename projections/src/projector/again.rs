//! What operators want tried again is tried event by event, in the log's order, and stops at the first one that fails.

use std::collections::BTreeMap;

use super::sorting::{self, Undecoded};
use super::{Backoff, End, Failed, Projector, chain};
use crate::fold::Folded;
use crate::parking::{Cause, Changes, ParkedEvent, ParkedKey, Place, Resolution};
use crate::store::{Commit, Store};
use crate::view::View;

/// Events that are read from the store at a time.
const EVENTS: usize = 100;

impl<V: View, S: Store<V>> Projector<V, S> {
    /// Applies the events of `key` that wait. The one that fails keeps its place, and all behind it theirs.
    pub(super) async fn try_again(&self, key: &ParkedKey, resolved: &BTreeMap<Place, Resolution>) -> Result<(), End> {
        loop {
            let events = self.retry(|| self.store.parking().events(Some(key), EVENTS)).await?;
            if events.is_empty() {
                tracing::info!(view = V::NAME, partition = %key.partition, "every parked event of a key is applied");
                return Ok(());
            }
            for event in events {
                let Err(cause) = self.try_one(&event, resolved.get(&event.place)).await? else { continue };
                tracing::warn!(view = V::NAME, partition = %event.place.0, offset = event.place.1, ?cause, "still parked");
                let parking =
                    Changes { park: vec![event.failed(cause)], done: Vec::new(), answered: vec![key.clone()] };
                let (upserts, deletes, moves) = (Vec::new(), Vec::new(), Vec::new());
                let commit = Commit { upserts, deletes, moves, parking, behind: false };
                return self.retry(|| self.store.commit(commit.clone())).await;
            }
        }
    }

    /// The cause, where the event still cannot be applied.
    async fn try_one(&self, event: &ParkedEvent, resolved: Option<&Resolution>) -> Result<Result<(), Cause>, End> {
        let parking = || Changes { done: vec![event.place], ..Changes::default() };
        let mut backoff = Backoff::new(&self.chance);
        let decoded = loop {
            let mut admitted = match event.admitted() {
                Ok(admitted) => admitted,
                Err(error) => return Ok(Err(Cause::Unreadable { detail: chain(&error) })),
            };
            if resolved.is_some_and(|resolution| !sorting::correct(&mut admitted, resolution)) {
                break None;
            }
            match sorting::decode::<V>(&self.context.codec, &admitted) {
                Ok(decoded) => break decoded,
                Err(Undecoded::ForGood(cause)) => return Ok(Err(cause)),
                Err(Undecoded::ForNow(error)) => self.trouble(chain(&error)),
            }
            self.pause(&mut backoff).await;
            if self.context.shutdown.is_cancelled() {
                return Err(End::Shutdown);
            }
        };
        let events: Vec<V::Event> = decoded.into_iter().collect();
        let apply = || async {
            let Folded { upserts, deletes } = self.fold(&events, &Folded::default()).await?;
            let commit = Commit { upserts, deletes, moves: Vec::new(), parking: parking(), behind: false };
            Ok::<_, Failed>(self.store.commit(commit).await?)
        };
        match self.retry(apply).await {
            Ok(()) => Ok(Ok(())),
            Err(End::Unfit(cause)) => Ok(Err(cause)),
            Err(end) => Err(end),
        }
    }
}
