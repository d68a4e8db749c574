//! What all owners of a node may read: settings, users, clock, entropy, identity, the latch.

pub mod context;
