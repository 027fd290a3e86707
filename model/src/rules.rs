//! The rules of the protocol, each with a switch.

use std::fmt;

/// One rule of DESIGN D3. The protocol has them all; a model without one shows what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A reader counts a record only if it was decided under the current term.
    ReaderComparesTerm,
    /// A reader compares of a term not only the number but also the nonce.
    ReaderComparesNonce,
    /// A reader counts a record only if it is the next of its term.
    ReaderComparesSequence,
    /// A reader counts a claim only if its number is higher than the current term's.
    ClaimsOnlyRise,
    /// An owner does not believe a report at another offset than the expected one without reading what lies between.
    ExpectedOffset,
    /// An owner that gets a report at a higher offset reads what lies between, and goes on if its record counts. Without
    /// it, the owner steps down.
    CatchUp,
    /// An owner believes a report only if it is for the oldest outstanding record.
    OldestOutstanding,
    /// A "no" and an "already so" are records, and are answered when these are confirmed.
    NoIsARecord,
    /// A repeat of a command that is not confirmed is answered when that is.
    RepeatWaits,
    /// An owner remembers by command id what was decided.
    CommandIds,
    /// An owner decides on everything decided before, confirmed or not.
    TentativeState,
    /// An owner folds everything before its claim, not only what stood there when it sent the claim.
    RestoreUpToClaim,
    /// An owner starts only when its claim is acknowledged.
    RestoreWaits,
    /// An owner starts only if its claim counts.
    ValidClaim,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 14] = [
        Self::ReaderComparesTerm,
        Self::ReaderComparesNonce,
        Self::ReaderComparesSequence,
        Self::ClaimsOnlyRise,
        Self::ExpectedOffset,
        Self::CatchUp,
        Self::OldestOutstanding,
        Self::NoIsARecord,
        Self::RepeatWaits,
        Self::CommandIds,
        Self::TentativeState,
        Self::RestoreUpToClaim,
        Self::RestoreWaits,
        Self::ValidClaim,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReaderComparesTerm => "reader compares the term",
            Self::ReaderComparesNonce => "reader compares the nonce",
            Self::ReaderComparesSequence => "reader compares the sequence number",
            Self::ClaimsOnlyRise => "claims count only with a higher number",
            Self::ExpectedOffset => "owner requires the expected offset",
            Self::CatchUp => "owner catches up instead of stepping down",
            Self::OldestOutstanding => "owner requires the oldest outstanding record",
            Self::NoIsARecord => "a \"no\" is a record",
            Self::RepeatWaits => "a repeat waits for its original",
            Self::CommandIds => "memory of command ids",
            Self::TentativeState => "decides on tentative state",
            Self::RestoreUpToClaim => "restore reads up to the claim",
            Self::RestoreWaits => "restore waits for the acknowledgement",
            Self::ValidClaim => "owner starts only if its claim is valid",
        })
    }
}

/// Which rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    removed: Option<Rule>,
}

impl Rules {
    /// The protocol.
    pub const ALL: Self = Self { removed: None };

    /// The protocol without `rule`.
    #[must_use]
    pub const fn without(rule: Rule) -> Self {
        Self { removed: Some(rule) }
    }

    /// Whether `rule` holds.
    #[must_use]
    pub fn has(self, rule: Rule) -> bool {
        self.removed != Some(rule)
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.removed {
            None => f.write_str("all rules"),
            Some(rule) => write!(f, "without \"{rule}\""),
        }
    }
}
