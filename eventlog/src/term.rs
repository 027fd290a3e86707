//! The reader's rule: which records of a partition count.
//!
//! A claim is valid iff its number is higher than the current term's; it opens its term at 0. Any other record is valid
//! iff its term is the current one and its number is the next. Everything else is void: skipped and counted, never a
//! halt. Only the log's own prefix decides, so all readers agree, without clocks, locks or leases.

use std::sync::Arc;

use schemas::{Envelope, Term};
use serde::{Deserialize, Serialize};

use crate::fault::mutant;

/// Where a fold stands in the terms of one partition. Constant in size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// The term of the latest valid claim.
    pub current: Option<Term>,
    /// The sequence number of the latest valid record in it.
    pub sequence: u64,
}

/// All that the rule looks at in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// It is a claim.
    pub claim: bool,
    /// The term that it opens, or under which it was decided.
    pub term: Term,
    /// Its number within the term.
    pub sequence: u64,
}

impl From<&Envelope> for Mark {
    fn from(envelope: &Envelope) -> Self {
        Self { claim: envelope.is_claim(), term: envelope.term, sequence: envelope.sequence }
    }
}

/// What the rule says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A claim that opens its term.
    Claim,
    /// A decision that counts.
    Valid,
    /// It does not count.
    Void(VoidReason),
}

/// Why a record does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoidReason {
    /// Its headers are not an envelope.
    Unmarked,
    /// A claim whose number is not higher than the current term's.
    StaleClaim,
    /// Decided under another term: by an owner that was deposed, or never was one.
    OtherTerm,
    /// Not the next of its term: a duplicate, or its predecessor is missing.
    OutOfSequence,
}

impl VoidReason {
    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unmarked => "unmarked",
            Self::StaleClaim => "stale_claim",
            Self::OtherTerm => "other_term",
            Self::OutOfSequence => "out_of_sequence",
        }
    }
}

impl Terms {
    /// Judges the next record of the partition by its headers, as far as they could be read, and moves on.
    pub fn read<E>(&mut self, envelope: &Result<Arc<Envelope>, E>) -> Verdict {
        envelope.as_ref().map_or(Verdict::Void(VoidReason::Unmarked), |envelope| self.admit(envelope))
    }

    /// Judges the next record of the partition and moves on.
    pub fn admit(&mut self, envelope: &Envelope) -> Verdict {
        self.judge(Mark::from(envelope))
    }

    /// The rule itself, which `model/` checks.
    pub fn judge(&mut self, mark: Mark) -> Verdict {
        if mark.claim {
            let stale = self.current.is_some_and(|current| mark.term.number <= current.number);
            if stale && !mutant("reader-claims") {
                return Verdict::Void(VoidReason::StaleClaim);
            }
            *self = Self { current: Some(mark.term), sequence: 0 };
            return Verdict::Claim;
        }
        if self.current != Some(mark.term) && !mutant("reader-term") {
            return Verdict::Void(VoidReason::OtherTerm);
        }
        if mark.sequence != self.sequence + 1 && !mutant("reader-sequence") {
            return Verdict::Void(VoidReason::OutOfSequence);
        }
        self.sequence = mark.sequence;
        Verdict::Valid
    }

    /// The number of the next claim.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.current.map_or(1, |term| term.number + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use domain::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn record(claim: bool, number: u64, nonce: u128, sequence: u64) -> Envelope {
        Envelope {
            id: Uuid::nil(),
            record_type: Cow::Borrowed(if claim { "lonja.log.TermStarted" } else { "lonja.order.OrderPlaced" }),
            subject: String::new(),
            time: Timestamp(0),
            term: Term { number, nonce },
            sequence,
            version: 0,
            fingerprint: 0,
            causation_id: Uuid::nil(),
            correlation_id: Uuid::nil(),
            traceparent: None,
        }
    }

    fn claim(number: u64, nonce: u128) -> Envelope {
        record(true, number, nonce, 0)
    }

    fn decision(number: u64, nonce: u128, sequence: u64) -> Envelope {
        record(false, number, nonce, sequence)
    }

    #[track_caller]
    fn check(log: &[Envelope], verdicts: &[Verdict]) {
        let mut terms = Terms::default();
        let judged: Vec<_> = log.iter().map(|envelope| terms.admit(envelope)).collect();
        assert_eq!(judged, verdicts);
    }

    use Verdict::{Claim, Valid, Void};
    use VoidReason::{OtherTerm, OutOfSequence, StaleClaim};

    #[test]
    fn a_term_counts_from_its_claim_on() {
        check(
            &[decision(1, 7, 1), claim(1, 7), decision(1, 7, 1), decision(1, 7, 2)],
            &[Void(OtherTerm), Claim, Valid, Valid],
        );
    }

    #[test]
    fn a_zombie_is_void_after_the_next_claim() {
        check(
            &[claim(1, 7), decision(1, 7, 1), claim(2, 8), decision(1, 7, 2), decision(2, 8, 1)],
            &[Claim, Valid, Claim, Void(OtherTerm), Valid],
        );
    }

    #[test]
    fn a_duplicate_and_what_follows_a_hole_are_void() {
        check(
            &[claim(1, 7), decision(1, 7, 1), decision(1, 7, 1), decision(1, 7, 3), decision(1, 7, 2)],
            &[Claim, Valid, Void(OutOfSequence), Void(OutOfSequence), Valid],
        );
    }

    #[test]
    fn a_late_copy_of_a_claim_revives_nothing() {
        check(
            &[claim(1, 7), claim(2, 8), claim(1, 7), decision(1, 7, 1), claim(2, 9), decision(2, 8, 1)],
            &[Claim, Claim, Void(StaleClaim), Void(OtherTerm), Void(StaleClaim), Valid],
        );
    }

    #[test]
    fn the_same_number_with_another_nonce_is_another_term() {
        check(&[claim(1, 7), decision(1, 8, 1)], &[Claim, Void(OtherTerm)]);
    }
}
