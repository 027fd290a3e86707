//! The aggregate of the model: a shelf with room for one unit, which is there at first.
//!
//! It is as small as an aggregate can be that says "yes", "no" and "already so", each in one state and not in the other.

use domain::{Decider, Rejection, Timestamp};

/// What may be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Take the unit; refused where there is none.
    Reserve,
    /// Put a unit there; already so where there is one.
    Restock,
}

/// What may happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Happened {
    /// The unit was taken.
    Reserved,
    /// A unit was put there.
    Restocked,
}

/// Its "no".
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("nothing is on the shelf")]
pub struct Empty;

impl Rejection for Empty {
    fn code(&self) -> &'static str {
        "empty"
    }
}

/// Its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Shelf {
    /// The unit is there.
    #[default]
    Full,
    /// It is not.
    Empty,
}

impl Decider for Shelf {
    type Command = Wish;
    type Event = Happened;
    type Rejection = Empty;

    fn decide(&self, wish: &Wish, _now: Timestamp) -> Result<Option<Happened>, Empty> {
        match (self, wish) {
            (Self::Full, Wish::Reserve) => Ok(Some(Happened::Reserved)),
            (Self::Empty, Wish::Reserve) => Err(Empty),
            (Self::Full, Wish::Restock) => Ok(None),
            (Self::Empty, Wish::Restock) => Ok(Some(Happened::Restocked)),
        }
    }

    fn evolve(self, event: &Happened) -> Self {
        match event {
            Happened::Reserved => Self::Empty,
            Happened::Restocked => Self::Full,
        }
    }
}
