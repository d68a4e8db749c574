//! The frontend: the owner of connections, their sessions and what is pushed to them, on one thread.
//!
//! Commands of a family are functions over it (`commands`); here is what all of them share: answering, what
//! requests cost, permissions, CLIENT PAUSE, and what a connection looks like from outside.

pub mod clients;
#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod frontend;
pub mod pause;
pub mod permissions;
pub mod response;
pub mod statistics;
