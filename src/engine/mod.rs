//! The engine: the owner of some partitions, their committer and the reads blocked on their keys, on one
//! thread.
//!
//! A frontend hands submissions to it ([`submission`]) and gets outcomes back through a [`port`]. Read in
//! this order: `submission`, [`engine`], [`round`] (seal, propose, apply), `blocked_reads` and `blocking`,
//! `scatter`, [`log_clock`], [`upkeep`], [`checkpoints`], [`report`], [`driver`]; and for an engine on its
//! own thread `parcel`, `load`, [`remote`], [`thread`].

pub mod submission;
pub mod statistics;
mod blocked_reads;
mod carried;
#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod engine;
mod blocking;
mod scatter;
mod several;
mod round;
pub mod log_clock;
pub mod upkeep;
pub mod checkpoints;
pub mod report;
mod questions;
pub mod driver;
mod load;
mod parcel;
pub mod remote;
pub mod thread;
pub mod port;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod blocking_tests;
#[cfg(test)]
mod chaos_tests;
#[cfg(test)]
mod upkeep_tests;
