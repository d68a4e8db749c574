//! What all owners of a node may read: settings, users, clock, entropy, identity, the latch.

#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod context;
