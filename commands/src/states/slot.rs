//! The state of an aggregate, and how records change it.

use eventlog::Admitted;
use schemas::{Codec, CodecError};
use serde::{Deserialize, Serialize};

use crate::Aggregate;
use crate::metrics::AGGREGATES_PARKED;

/// The folded state of one aggregate.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Slot<A> {
    /// Version of the last event; 0 before the first.
    pub version: u64,
    /// The state.
    pub state: A,
    /// Why its history cannot be folded any further, if so.
    pub parked: Option<String>,
}

impl<A: Aggregate> Slot<A> {
    /// Folds the next event that counts. What cannot be applied parks the aggregate: others go on.
    pub(super) fn apply(&mut self, codec: &Codec, record: &Admitted) -> Result<(), CodecError> {
        let version = record.envelope.version;
        if self.parked.is_some() {
            return Ok(());
        }
        if version != self.version + 1 {
            self.park(record, &format!("version {version} follows {}", self.version));
            return Ok(());
        }
        match A::decode(codec, &record.envelope.record_type, &record.record.payload) {
            Ok(event) => {
                self.state = std::mem::take(&mut self.state).evolve(&event);
                self.version = version;
            }
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => self.park(record, &error.in_full()),
        }
        Ok(())
    }

    fn park(&mut self, record: &Admitted, why: &str) {
        let Admitted { partition, offset, .. } = record;
        tracing::error!(%partition, offset, subject = record.envelope.subject, why, "aggregate parked");
        ::metrics::counter!(AGGREGATES_PARKED, "topic" => partition.topic.name).increment(1);
        self.parked = Some(format!("{why} at {partition}@{offset}"));
    }
}
