//! The deterministic state machine: an op and its time go in, an outcome comes out.
