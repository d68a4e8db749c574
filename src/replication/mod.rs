//! The committers behind one seam: `local` and `raft`.

pub mod committer;
pub mod durable_log;
pub mod event;
pub mod local;
mod pace;
mod proposals;
pub mod raft;
mod replay;
#[cfg(test)]
pub mod scripted;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod damage_tests;
