//! Who a connection is and what it waits for: user, protocol, database, transaction queue, what is kept for a
//! reply.

#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod session;
pub mod pending;
