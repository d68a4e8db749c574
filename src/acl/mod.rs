//! Users and what they may do: rules, passwords, the decision on a request, what was denied, the file of users.
//!
//! Semantics of Redis 7.2 to 8.0 (`acl.c`). Users are settings of this node and not part of the replicated state.
//! Nothing here knows of connections: the server asks, and tells its connections of changes.

#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod acl;
pub mod check;
pub mod file;
pub mod log;
pub mod password;
pub mod rule;
pub mod selector;
pub mod throttle;
pub mod user;
pub mod users;
