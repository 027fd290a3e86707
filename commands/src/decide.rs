//! From a command and a state to a decision and its record.

use domain::Timestamp;
use eventlog::PAYLOAD_BYTES_MAX;
use eventlog::fault::mutant;
use schemas::wire::log::{encode_refusal, encode_unchanged};
use schemas::{Codec, CodecError, Encoded, Refusal};

use crate::states::Slot;
use crate::{Aggregate, CommandRequest, Decision, EVENT_TOO_LARGE, VERSION_CONFLICT};

/// The decision and its record. Whatever it is, it is exactly one record.
pub(crate) fn decide<A: Aggregate>(
    codec: &Codec,
    request: &CommandRequest<A>,
    slot: &Slot<A>,
    now: Timestamp,
) -> Result<(Decision<A::Event>, Encoded), CodecError> {
    let command = A::command_name(&request.command);
    let refuse = |refusal: Refusal| {
        let encoded = encode_refusal(codec, A::TOPIC, &refusal)?;
        Ok((Decision::Refused(refusal), encoded))
    };
    let conflicts = |expected: &u64| *expected != slot.version && !mutant("if-match");
    if let Some(expected) = request.expected_version.filter(conflicts) {
        return refuse(Refusal {
            command: command.to_owned(),
            code: VERSION_CONFLICT.to_owned(),
            detail: format!("version {expected} was expected and {} is current", slot.version),
            facts: [("current_version".to_owned(), i64::try_from(slot.version).unwrap_or(i64::MAX))].into(),
        });
    }
    match slot.state.decide(&request.command, now) {
        Ok(Some(event)) => {
            let encoded = A::encode(codec, &event)?;
            if encoded.payload.len() > PAYLOAD_BYTES_MAX {
                return refuse(Refusal {
                    command: command.to_owned(),
                    code: EVENT_TOO_LARGE.to_owned(),
                    detail: format!("the event would exceed {PAYLOAD_BYTES_MAX} bytes"),
                    facts: Default::default(),
                });
            }
            Ok((Decision::Accepted(event), encoded))
        }
        Ok(None) => Ok((Decision::Unchanged, encode_unchanged(codec, A::TOPIC, command)?)),
        Err(rejection) => refuse(Refusal::new(command, &rejection)),
    }
}
