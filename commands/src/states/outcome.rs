//! What is remembered of a decided command.

use std::borrow::Cow;

use domain::Timestamp;
use eventlog::{Admitted, Partition};
use schemas::{Codec, CodecError};
use serde::{Deserialize, Serialize};

use crate::peers::decision;
use crate::{Aggregate, Decided, Position};

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Topic of the record.
    pub topic: Cow<'static, str>,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// Log time.
    pub timestamp: Timestamp,
    /// The aggregate's version after the decision.
    pub version: u64,
    /// Digest of the request.
    pub fingerprint: u128,
    /// What was decided …
    pub record_type: Cow<'static, str>,
    /// … in full, so that the first answer can be given again.
    pub payload: Vec<u8>,
}

impl Outcome {
    pub(crate) fn of(record: &Admitted) -> Self {
        Self {
            topic: Cow::Borrowed(record.partition.topic.name),
            partition: record.partition.number,
            offset: record.offset,
            timestamp: record.timestamp,
            version: record.envelope.version,
            fingerprint: record.envelope.fingerprint,
            record_type: record.envelope.record_type.clone(),
            payload: record.record.payload.to_vec(),
        }
    }

    /// The answer that it stands for, marked as a repetition.
    ///
    /// # Errors
    /// When the recorded decision cannot be decoded.
    pub fn decided<A: Aggregate>(&self, codec: &Codec) -> Result<Decided<A::Event>, CodecError> {
        let decision = decision::<A>(codec, &self.record_type, &self.payload)?;
        let partition = Partition { topic: A::TOPIC, number: self.partition };
        let position = Position { partition, offset: self.offset };
        Ok(Decided { position, version: self.version, replayed: true, decision })
    }
}
