//! The Raft committer: openraft over the same journal, checkpoints and machine as the local one. No other
//! room, and no other file of this room's parent, sees an openraft type.
//!
//! One [`group`] per partition; all groups of an engine share one journal and its flushes. Read in this
//! order: [`types`] (the type configuration for openraft), [`outbox`] (the events for the engine), [`record`]
//! (votes, memberships and log ids in the journal), [`flushes`], [`log_store`], [`state_machine`],
//! [`snapshot`], [`network`], [`group`], [`committer`] (the interface for the engine).
//!
//! Everything here runs on the engine's thread, inside its `LocalSet`: openraft is built with
//! `single-threaded`, its tasks are local ones, and nothing is `Send`.

pub mod committer;
mod flushes;
mod group;
mod log_store;
mod network;
mod outbox;
mod record;
mod snapshot;
mod state_machine;
mod types;

#[cfg(test)]
mod leadership_tests;
#[cfg(test)]
mod suite_tests;
#[cfg(test)]
mod committer_tests;
