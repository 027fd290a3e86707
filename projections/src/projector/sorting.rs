//! What becomes of a record: it is applied, it is parked, or the view leaves it out.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use eventlog::Admitted;
use foldhash::{HashMap, HashSet, HashSetExt};
use schemas::{Codec, CodecError};

use crate::parking::{Cause, EVENTS_MAX, KEYS_MAX, Parked, ParkedEvent, ParkedKey, Place, Resolution, Verdict};
use crate::view::{View, is_event};

/// A record, sorted.
pub(super) enum Sorted<E> {
    /// To be folded.
    Apply(E),
    /// To wait.
    Park(ParkedEvent),
    /// No event of this view, or left out on purpose.
    Nothing,
}

/// Why a record cannot be sorted now.
#[derive(Debug)]
pub(super) enum Unsorted {
    /// Asking again may help.
    Codec(CodecError),
    /// Operators have to make room first.
    Full,
}

/// Everything that is not simply applied.
#[derive(Default)]
pub(super) struct Sorting {
    keys: HashSet<ParkedKey>,
    events: u64,
    resolutions: HashMap<Place, Resolution>,
    /// Events that could be read and not be applied.
    unfit: BTreeMap<Place, Cause>,
    /// Keys that the batch in hand parks: they count once it is read whole.
    fresh: HashSet<ParkedKey>,
    fresh_events: u64,
}

impl Sorting {
    pub fn new(parked: &Parked, unfit: &BTreeMap<Place, Cause>) -> Self {
        Self {
            keys: parked.keys.keys().cloned().collect(),
            events: parked.keys.values().map(|queue| queue.events).sum(),
            resolutions: parked.resolutions.iter().map(|(place, resolution)| (*place, resolution.clone())).collect(),
            unfit: unfit.clone(),
            fresh: HashSet::new(),
            fresh_events: 0,
        }
    }

    /// Begins a batch; what the one before parked is forgotten, unless [`Self::keep`] was called.
    pub fn begin(&mut self) {
        self.fresh.clear();
        self.fresh_events = 0;
    }

    /// The batch is read whole.
    pub fn keep(&mut self) {
        self.keys.extend(self.fresh.drain());
        self.events += std::mem::take(&mut self.fresh_events);
    }

    pub fn sort<V: View>(&mut self, codec: &Codec, mut admitted: Admitted) -> Result<Sorted<V::Event>, Unsorted> {
        let place = (admitted.partition, admitted.offset);
        if !self.resolutions.is_empty()
            && let Some(resolution) = self.resolutions.get(&place)
            && !correct(&mut admitted, resolution)
        {
            return Ok(Sorted::Nothing);
        }
        if self.is_behind(&admitted) {
            return self.park(&admitted, Cause::Behind);
        }
        if let Some(cause) = self.unfit.get(&place) {
            let cause = cause.clone();
            return self.park(&admitted, cause);
        }
        match decode::<V>(codec, &admitted) {
            Ok(event) => Ok(event.map_or(Sorted::Nothing, Sorted::Apply)),
            Err(Undecoded::ForNow(error)) => Err(Unsorted::Codec(error)),
            Err(Undecoded::ForGood(cause)) => self.park(&admitted, cause),
        }
    }

    fn is_behind(&self, admitted: &Admitted) -> bool {
        if (self.keys.is_empty() && self.fresh.is_empty()) || !is_event(&admitted.envelope) {
            return false;
        }
        let key = ParkedKey { partition: admitted.partition, key: admitted.record.key.clone() };
        self.keys.contains(&key) || self.fresh.contains(&key)
    }

    fn park<E>(&mut self, admitted: &Admitted, cause: Cause) -> Result<Sorted<E>, Unsorted> {
        if (self.keys.len() + self.fresh.len()) as u64 >= KEYS_MAX && cause != Cause::Behind
            || self.events + self.fresh_events >= EVENTS_MAX
        {
            return Err(Unsorted::Full);
        }
        let event = ParkedEvent::of(admitted, cause);
        self.fresh.insert(event.parked_key());
        self.fresh_events += 1;
        Ok(Sorted::Park(event))
    }
}

/// Puts the payload in place that operators gave; false where the record is discarded.
pub(super) fn correct(admitted: &mut Admitted, resolution: &Resolution) -> bool {
    match &resolution.verdict {
        Verdict::Discard => return false,
        Verdict::Correct(payload) => {
            admitted.record.payload = payload.clone();
            admitted.event = None;
        }
    }
    true
}

/// Why a record is not read.
pub(super) enum Undecoded {
    /// Asking again may help.
    ForNow(CodecError),
    /// It will not.
    ForGood(Cause),
}

/// The event of a record. A panic counts as a record that cannot be read.
pub(super) fn decode<V: View>(codec: &Codec, admitted: &Admitted) -> Result<Option<V::Event>, Undecoded> {
    match caught(|| V::decode(codec, admitted)) {
        Ok(Ok(event)) => Ok(event),
        Ok(Err(error)) if error.is_transient() => Err(Undecoded::ForNow(error)),
        Ok(Err(error)) => Err(Undecoded::ForGood(Cause::Unreadable { detail: super::chain(&error) })),
        Err(panic) => Err(Undecoded::ForGood(Cause::Unreadable { detail: format!("reading it panicked: {panic}") })),
    }
}

/// What a deed gives, or the message of its panic.
pub(super) fn caught<T>(deed: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(deed)).map_err(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
    })
}
