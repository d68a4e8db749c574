//! What the server counts and tells about itself: metrics, tracing set-up.

pub mod metrics;
pub mod tracing;
