//! What goes out unasked: messages of subscriptions, events of keys, invalidations of CLIENT TRACKING,
//! MONITOR.
//!
//! A message is written to a connection at once, or, if it is for the client whose request caused it, behind
//! the reply to that request. Order: as in the log.

pub mod invalidation;
pub mod key_events;
pub mod messages;
pub mod monitors;
#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod push;
pub mod tracking;
