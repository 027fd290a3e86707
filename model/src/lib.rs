//! The term protocol (DESIGN D3) as a [stateright] model: every order of events within bounds is looked at.
//!
//! One partition; nodes that may all believe that they own it; records that land at any later time or never; reports that
//! are late or lost; crashes; attempts of the same command at different owners. Beyond that, by choice: records that are
//! lost before later ones, late second copies, records and reports that overtake each other.
//!
//! The reader's rule is not modelled: it is `eventlog::Terms::judge`, which every reader of the real log calls. `docs/model.md`
//! says what else is modelled and what is not, and has the figures.
//!
//! | file | what |
//! |---|---|
//! | [`shelf`] | the aggregate: one unit |
//! | [`log`] | records, and what a reader makes of them |
//! | [`owner`] | what a node believes and does |
//! | [`state`] | everything at one moment, and what may happen |
//! | [`protocol`] | when it may happen, and what comes of it |
//! | [`properties`] | what must always hold |
//! | [`rules`] | the rules, each of which can be removed |
//! | [`runs`] | what is searched |
//!
//! [stateright]: https://docs.rs/stateright

pub mod log;
pub mod owner;
pub mod properties;
pub mod protocol;
pub mod rules;
pub mod runs;
pub mod shelf;
pub mod state;
