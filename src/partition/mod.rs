//! The front door of a partition: it gathers the ops of one round into a batch and hands outcomes back in
//! order.
//!
//! Invariants: a reply is released only after its op was applied; answers come in the order of their
//! requests; a query queued behind writes sees them.

pub mod batch;
pub mod touched;
pub mod looks;
#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod partition;
pub mod router;
