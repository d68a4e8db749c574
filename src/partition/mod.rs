//! The front door of a partition: ops of one round gathered into a batch, outcomes handed back in order.
//!
//! Invariants: a reply is released only after its op was applied; what was enqueued in an order is answered
//! in that order; a query that rides behind writes sees them.

pub mod batch;
pub mod touched;
#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod partition;
pub mod router;
