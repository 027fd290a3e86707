//! Names of headers without an allocation each: a record has a dozen, and their names are always the same.

use std::borrow::Cow;

/// In the order in which our own records have them.
const KNOWN: &[&str] = &[
    "ce_specversion",
    "content-type",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "ce_causationid",
    "ce_correlationid",
    "lonja_term",
    "lonja_sequence",
    "lonja_version",
    "lonja_fingerprint",
    "traceparent",
];

/// The names of one record's headers, in their order.
#[derive(Default)]
pub(crate) struct Names {
    next: usize,
}

impl Names {
    /// `name`, which is the next one, borrowed where it is one that our own records have.
    pub(crate) fn intern(&mut self, name: &str) -> Cow<'static, str> {
        let expected = KNOWN.get(self.next).filter(|expected| **expected == name);
        self.next += 1;
        match expected.or_else(|| KNOWN.iter().find(|known| **known == name)) {
            Some(known) => Cow::Borrowed(known),
            None => Cow::Owned(name.to_owned()),
        }
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
        let headers = envelope.to_headers("order");
        assert!(headers.iter().map(|(name, _)| name).eq(KNOWN));
        let mut names = Names::default();
        for (name, _) in &headers[1..] {
            assert!(matches!(names.intern(name), Cow::Borrowed(known) if known == name), "{name}");
        }
        assert_eq!(names.intern("foreign"), "foreign");
    }
}
