//! The deterministic state machine: an op and its time go in, an outcome comes out.
//!
//! No clock, no randomness, no IO, no visible hash order, no local configuration: two machines that apply the same ops
//! at the same times are equal, and their checkpoints are the same bytes. A refusal is an answer; applying never fails.

pub mod effects;
pub mod blocked;
pub mod answer;
pub mod reply;
pub mod id_map;
pub mod keyspace;
pub mod removals;
pub mod op;
pub mod group;
pub mod stream;
pub mod rdb;
pub mod scope;
pub mod decimal;
pub mod string;
pub mod key;
pub mod query;
mod across;
pub mod machine;
pub mod checkpoint;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod machine_properties;
#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod model_tests;
