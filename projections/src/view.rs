//! What a view is to the engine: a pure fold from events to rows. The engine knows no shop.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use eventlog::{Admitted, Decoded, Partition};
use schemas::topics::{COMMAND_REFUSED, COMMAND_UNCHANGED};
use schemas::{Codec, CodecError, Contract, Envelope, Topic};
use serde::Serialize;

/// A view; the implementing type is its row.
pub trait View: Clone + PartialEq + fmt::Debug + Serialize + Send + Sync + Sized + 'static {
    /// Its name, in metrics, checkpoints and store objects.
    const NAME: &'static str;
    /// The generation that migrations make, and after whose table those of later ones are made.
    const GENERATION: u32;
    /// The topics that it folds.
    const TOPICS: &'static [&'static Topic];

    /// Names a row. All events of one key stand in one partition: what keeps two projectors apart is the partition's
    /// checkpoint. In the order in which the view's store has them.
    type Key: Clone + Eq + Hash + Ord + fmt::Debug + Send + Sync + 'static;
    /// What is folded.
    type Event: Send + Sync + 'static;

    /// The view's event in a record that counts; `None` for one that is no event of this view.
    ///
    /// # Errors
    /// When the record cannot be read.
    fn decode(codec: &Codec, admitted: &Admitted) -> Result<Option<Self::Event>, CodecError>;

    /// Which row `event` concerns.
    fn key_of(event: &Self::Event) -> Self::Key;

    /// The row's own key.
    fn key(&self) -> Self::Key;

    /// The partition in which the events of a row stand.
    fn home(key: &Self::Key) -> Partition;

    /// Whether each row is made by one record, so that it is whole wherever a fold begins.
    const ROWS_OF_ONE_RECORD: bool = false;

    /// Whether the outcome of [`Self::fold`] depends on the former row. Where it does not, the row is not loaded.
    fn needs_row(event: &Self::Event) -> bool {
        let _ = event;
        true
    }

    /// The row after `event`; `None` where there is none (any more). Pure and total: it neither fails nor panics.
    #[must_use]
    fn fold(row: Option<Self>, event: &Self::Event) -> Option<Self>;

    /// What the table or collection of a generation is called.
    #[must_use]
    fn table(generation: u32) -> String {
        format!("{}_g{generation}", Self::NAME)
    }

    /// Every partition that it folds.
    #[must_use]
    fn partitions() -> Vec<Partition> {
        Self::TOPICS.iter().copied().flat_map(Partition::all).collect()
    }
}

/// An event of an aggregate with what its record says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<E> {
    /// Where it stands.
    pub partition: Partition,
    /// At which offset.
    pub offset: u64,
    /// Its headers.
    pub envelope: Arc<Envelope>,
    /// What happened. Shared by the views of a process.
    pub event: Arc<E>,
}

/// The event of aggregate `A` in `admitted`; `None` for a decision that changed nothing.
///
/// # Errors
/// When the record cannot be read.
pub fn recorded<A: Contract>(codec: &Codec, admitted: &Admitted) -> Result<Option<Recorded<A::Event>>, CodecError> {
    let Admitted { partition, offset, envelope, record, event, .. } = admitted;
    if !is_event(envelope) {
        return Ok(None);
    }
    let event = match event.clone().and_then(Decoded::get) {
        Some(event) => event,
        None => Arc::new(A::decode(codec, &envelope.record_type, &record.payload)?),
    };
    Ok(Some(Recorded { partition: *partition, offset: *offset, envelope: Arc::clone(envelope), event }))
}

/// Whether the record is an event, and not a decision that changed nothing.
pub(crate) fn is_event(envelope: &Envelope) -> bool {
    envelope.record_type != COMMAND_REFUSED.name && envelope.record_type != COMMAND_UNCHANGED.name
}
