//! The committers behind one seam: `local` and `raft`.

pub mod committer;
pub mod disk;
pub mod local;
pub mod raft;
