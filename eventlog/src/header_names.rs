//! Names of headers without an allocation each: a record has a dozen, and their names are always the same.

use std::borrow::Cow;

const KNOWN: &[&str] = &[
    "ce_specversion",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "content-type",
    "ce_causationid",
    "ce_correlationid",
    "lonja_term",
    "lonja_sequence",
    "lonja_version",
    "lonja_fingerprint",
    "traceparent",
];

/// `name`, borrowed where it is one that our own records have.
pub(crate) fn intern(name: &str) -> Cow<'static, str> {
    match KNOWN.iter().find(|known| **known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use schemas::{Envelope, Term};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_header_of_the_envelope_is_known() {
        let envelope = Envelope {
            id: Uuid::nil(),
            record_type: "lonja.order.OrderPlaced".into(),
            subject: String::new(),
            time: Timestamp(0),
            term: Term { number: 1, nonce: 1 },
            sequence: 1,
            version: 1,
            fingerprint: 0,
            causation_id: Uuid::nil(),
            correlation_id: Uuid::nil(),
            traceparent: Some(String::new()),
        };
        for (name, _) in envelope.to_headers("order") {
            assert!(matches!(intern(&name), Cow::Borrowed(known) if known == name), "{name}");
        }
        assert_eq!(intern("foreign"), "foreign");
    }
}
