//! What is parked, in memory.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::resolutions::FileError;
use super::{MemoryStore, MemoryView};
use crate::parking::{Changes, Parked, ParkedEvent, ParkedKey, Parking, Place, Queue, Resolution, Wishes};
use crate::store::StoreError;

#[derive(Default)]
pub(super) struct MemoryParking {
    events: BTreeMap<Place, ParkedEvent>,
    wanted: BTreeSet<ParkedKey>,
}

impl MemoryParking {
    pub fn holds(&self, places: &[Place]) -> bool {
        places.iter().all(|place| self.events.contains_key(place))
    }

    pub fn change(&mut self, changes: Changes) {
        for place in &changes.done {
            self.events.remove(place);
        }
        self.events.extend(changes.park.into_iter().map(|event| (event.place, event)));
        for key in &changes.answered {
            self.wanted.remove(key);
        }
    }

    pub fn places(&self) -> BTreeSet<Place> {
        self.events.keys().copied().collect()
    }

    fn parked(&self, resolutions: BTreeMap<Place, Resolution>) -> Parked {
        let mut parked = Parked { keys: BTreeMap::new(), resolutions };
        for event in self.events.values() {
            let key = event.parked_key();
            let wanted = self.wanted.contains(&key);
            parked.keys.entry(key).or_insert(Queue { events: 0, wanted }).events += 1;
        }
        parked
    }
}

impl<V: MemoryView> Parking for MemoryStore<V> {
    fn parked(&self) -> BoxFuture<'_, Result<Parked, StoreError>> {
        let resolutions = self.shared.write().resolutions.all().cloned().map_err(failed::<V>);
        ready(resolutions.map(|resolutions| self.content.read().parking.parked(resolutions))).boxed()
    }

    fn events<'s>(
        &'s self,
        of: Option<&'s ParkedKey>,
        limit: usize,
    ) -> BoxFuture<'s, Result<Vec<ParkedEvent>, StoreError>> {
        let content = self.content.read();
        let events = content.parking.events.values();
        let wanted = events.filter(|event| of.is_none_or(|of| event.parked_key() == *of));
        ready(Ok(wanted.take(limit).cloned().collect())).boxed()
    }

    fn is_wanted(&self) -> BoxFuture<'_, Result<bool, StoreError>> {
        ready(Ok(!self.content.read().parking.wanted.is_empty())).boxed()
    }

    fn wish(&self, wishes: Wishes) -> BoxFuture<'_, Result<(), StoreError>> {
        if let Err(error) = self.shared.write().resolutions.add(wishes.resolve) {
            return ready(Err(failed::<V>(error))).boxed();
        }
        let parking = &mut self.content.write().parking;
        let parked: BTreeSet<ParkedKey> = parking.events.values().map(ParkedEvent::parked_key).collect();
        parking.wanted.extend(wishes.retry.into_iter().filter(|key| parked.contains(key)));
        ready(Ok(())).boxed()
    }
}

fn failed<V: MemoryView>(error: FileError) -> StoreError {
    StoreError::Parking { view: V::NAME, source: error.into() }
}
