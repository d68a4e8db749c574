//! Measurements: metrics, latencies, the slow log, tracing set-up.

pub mod histogram;
pub mod latency;
pub mod loading;
pub mod metrics;
pub mod slow_log;
pub mod stopwatch;
pub mod tracing;
