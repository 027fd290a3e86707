//! The proof tools of Lonja: what sends load to it, measures it beside its limits and its peer, and checks from outside
//! what it did.
//!
//! What checks is independent of what is checked: it reads the log with rdkafka and [`schemas`] alone, has its own lines of
//! the reader's rule, and asks the stores in their own languages. Only `bench replay` links the projector, to measure it.

pub mod baskets;
pub mod bench;
pub mod closed_loop;
pub mod faults;
pub mod history;
pub mod http;
pub mod load;
pub mod log_reader;
pub mod lonja;
pub mod machine;
pub mod mix;
pub mod order_body;
pub mod own;
pub mod process;
pub mod python;
pub mod rule;
pub mod sell;
pub mod stack;
pub mod stores;
pub mod tables;
pub mod verify;
