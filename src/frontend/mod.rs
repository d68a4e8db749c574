//! The frontend: the owner of connections, their sessions and pushes, on one thread.
//!
//! Commands of a family are functions over it (`commands`). This room holds their common ground: answers,
//! costs of requests, permissions, CLIENT PAUSE, and the description of a connection.

pub mod clients;
pub mod disk_errors;
#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod frontend;
pub mod memory_limit;
pub mod pause;
pub mod permissions;
pub mod reply;
pub mod response;
pub mod slow_commands;
pub mod statistics;
