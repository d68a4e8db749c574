//! The engine: the owner of some partitions, their committer and the reads that are blocked on their keys, on one thread.
//!
//! A frontend hands it submissions ([`submission`]) and gets outcomes back, by way of a [`port`]. Read in this order:
//! `submission`, [`engine`], [`round`] (seal, propose, apply), `blocked_reads` and `blocking`, `scatter`, [`upkeep`],
//! [`checkpoints`], [`report`], [`driver`].

pub mod submission;
pub mod statistics;
mod blocked_reads;
#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod engine;
mod blocking;
mod scatter;
mod round;
pub mod upkeep;
pub mod checkpoints;
pub mod report;
mod questions;
pub mod driver;
pub mod port;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod blocking_tests;
#[cfg(test)]
mod chaos_tests;
#[cfg(test)]
mod upkeep_tests;
