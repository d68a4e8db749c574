//! Push: messages of subscriptions, key events, invalidations of CLIENT TRACKING, MONITOR.
//!
//! A message is written to a connection at once; a message for the client whose request caused it is written
//! behind the reply to that request. Order: log order.

pub mod invalidation;
pub mod key_events;
pub mod messages;
pub mod monitor_list;
pub mod monitors;
#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod push;
pub mod tracking;
