//! The Raft committer: openraft over the same journal, checkpoints and machine as the local one. No other room, and no
//! other file of this room's parent, sees an openraft type.
//!
//! One [`group`] per partition; all groups of a worker share one journal and its flushes. Read in this order: [`types`]
//! (what openraft is told), [`record`] (votes, members and log ids as the journal keeps them), [`flushes`], [`log_store`],
//! [`state_machine`], [`snapshot`], [`network`], [`group`], [`committer`] (what the worker calls).
//!
//! Everything here runs on the worker's thread, inside its `LocalSet`: openraft is built with `single-threaded`, its
//! tasks are local ones, and nothing is `Send`.

pub mod committer;
mod flushes;
mod group;
mod log_store;
mod network;
mod record;
mod round;
mod snapshot;
mod state_machine;
mod types;

#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;
