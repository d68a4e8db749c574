//! The session of a connection: user, protocol, database, transaction queue, and the state kept for pending
//! replies.

#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod session;
pub mod pending;
