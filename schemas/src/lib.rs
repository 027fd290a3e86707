//! The contract of the topics: what is on them, under which names, in which bytes.
//!
//! This crate is the only one that knows Avro. [`topics`] is the one table of topics, [`envelope`] the headers of every
//! record, [`codec`] the payload (Confluent framing), [`contract`] ties an aggregate of the domain to them, and [`wire`]
//! has the Avro twin of each event.

pub mod codec;
pub mod contract;
pub mod envelope;
pub mod registry;
pub mod topics;
pub mod wire;

pub use codec::{Codec, CodecError};
pub use contract::{Contract, Encoded, Refusal};
pub use envelope::{Envelope, EnvelopeError, Headers, Term};
pub use topics::Topic;
