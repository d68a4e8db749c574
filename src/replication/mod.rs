//! The committers behind one seam: `local` and `raft`.
