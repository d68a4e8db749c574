//! The committers behind one seam: `local` and `raft`.

pub mod committer;
pub mod local;
