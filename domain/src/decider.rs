//! The shape that every aggregate has.
//!
//! After Chassaing's *Decider* ("Functional event sourcing decider", 2021), cut to one event per decision so that a
//! decision is one record of the log, atomic without a transaction.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

/// A business answer "no". It is recorded and repeated like any other decision; it is never an error of the system.
pub trait Rejection: std::error::Error + Send {
    /// The stable, documented name of the reason, in `snake_case`.
    fn code(&self) -> &'static str;

    /// Numbers that the caller needs in order to act, by name (for example `requested` and `available`).
    fn facts(&self) -> Vec<(&'static str, i64)> {
        Vec::new()
    }
}

/// One kind of aggregate: its state is the implementing type, its initial state is `Default`.
///
/// Rebuilding is `history.iter().fold(Self::default(), Self::evolve)`.
pub trait Decider: Clone + Default + Send + 'static {
    /// What may be asked of the aggregate.
    type Command: Send + Sync + 'static;
    /// What may happen to it.
    type Event: Clone + Send + Sync + 'static;
    /// Why it may say no.
    type Rejection: Rejection;

    /// Decides `command` at `now`.
    ///
    /// `Ok(Some(event))` is a change, `Ok(None)` says that it is so already, `Err` is a refusal. Pure: the same state,
    /// command and time give the same answer.
    ///
    /// # Errors
    /// The business reason why the command is refused.
    fn decide(&self, command: &Self::Command, now: Timestamp) -> Result<Option<Self::Event>, Self::Rejection>;

    /// The state after `event`. Total: whatever the event and the state, it neither fails nor panics, because what is
    /// in the log has happened.
    #[must_use]
    fn evolve(self, event: &Self::Event) -> Self;

    /// The command that the owner sends on its own when nothing else happens until then.
    fn due(&self) -> Option<(Timestamp, Self::Command)> {
        None
    }
}
