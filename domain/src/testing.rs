//! Given / when / then for any decider. Only this funnel knows the trait, so a change of it edits one file.

use std::fmt::Debug;

use crate::decider::{Decider, Rejection, Timestamp};

/// A decider after a history.
#[derive(Debug)]
pub struct Given<D>(D);

/// What a decider answered.
#[derive(Debug)]
pub struct Outcome<E, R>(Result<Option<E>, R>);

/// Starts from the state that `history` gives.
#[must_use]
pub fn given<D: Decider>(history: &[D::Event]) -> Given<D> {
    Given(history.iter().fold(D::default(), D::evolve))
}

impl<D: Decider> Given<D> {
    /// Decides `command` at `now`.
    #[must_use]
    pub fn when(self, command: &D::Command, now: Timestamp) -> Outcome<D::Event, D::Rejection> {
        Outcome(self.0.decide(command, now))
    }
}

impl<E: Debug + PartialEq, R: Rejection> Outcome<E, R> {
    /// Expects exactly this event.
    ///
    /// # Panics
    /// When anything else was answered.
    #[track_caller]
    pub fn then(self, event: &E) {
        match &self.0 {
            Ok(Some(decided)) => assert_eq!(decided, event),
            other => panic!("expected {event:?}, got {other:?}"),
        }
    }

    /// Expects that it was so already.
    ///
    /// # Panics
    /// When anything else was answered.
    #[track_caller]
    pub fn then_nothing(self) {
        assert!(matches!(self.0, Ok(None)), "expected no event, got {:?}", self.0);
    }

    /// Expects a refusal with this code.
    ///
    /// # Panics
    /// When anything else was answered.
    #[track_caller]
    pub fn then_rejected(self, code: &str) {
        match &self.0 {
            Err(rejection) => assert_eq!(rejection.code(), code),
            other => panic!("expected rejection {code}, got {other:?}"),
        }
    }

    /// Expects a refusal with this code and these facts.
    ///
    /// # Panics
    /// When anything else was answered.
    #[track_caller]
    pub fn then_rejected_with(self, code: &str, facts: &[(&str, i64)]) {
        match &self.0 {
            Err(rejection) => assert_eq!((rejection.code(), rejection.facts().as_slice()), (code, facts)),
            other => panic!("expected rejection {code}, got {other:?}"),
        }
    }
}
