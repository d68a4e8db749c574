//! Users and permissions: rules, passwords, the decision on a request, the log of denials, the users file.
//!
//! Semantics of Redis 7.2 to 8.0 (`acl.c`). Users are settings of the node, not replicated state. This room
//! knows no connections: the server asks for decisions and applies changes to its connections.

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
