//! The deterministic state machine: an op and its time go in, an outcome comes out.
//!
//! No clock, randomness, IO, visible hash order or local configuration: two machines that apply the same ops
//! at the same times are equal, and so are the bytes of their checkpoints. A refusal is an answer; applying
//! never fails.

pub mod effects;
pub mod blocked;
pub mod seen;
pub mod answer;
pub mod shared_map;
pub mod id_map;
pub mod key_index;
pub mod key_table;
pub mod removals;
pub mod keyspace;
pub mod deletion_versions;
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
pub mod image;
pub mod machine;
pub mod checkpoint;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod machine_bench;
#[cfg(test)]
mod discard_tests;
#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod machine_property_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod stream_tests;
