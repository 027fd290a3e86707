//! What the shop decides, and nothing else.
//!
//! Every aggregate is one file with the same blocks in the same order: command, event, rejection, state, `decide`,
//! `evolve`, tests. Nothing here reads a clock, draws a random number, does I/O or knows a wire format
//! (`clippy.toml` and the dependency list hold that).
//!
//! | word | meaning |
//! |---|---|
//! | command | what somebody wants, already well formed |
//! | event | what was decided, past tense, for ever |
//! | rejection | a business "no" with a stable code |
//! | decider | state, `decide` and `evolve` of one kind of aggregate |

pub mod decider;
pub mod ids;
pub mod money;
pub mod order;
pub mod stock;
pub mod testing;

pub use decider::{Decider, Rejection, Timestamp};
