//! The term protocol as a model, checked exhaustively.
pub mod log;
pub mod owner;
pub mod properties;
pub mod protocol;
pub mod rules;
pub mod shelf;
