//! The logs of slow commands, and their thresholds.

use crate::observe::latency::LatencyMonitor;
use crate::observe::slow_log::SlowLog;
use std::cell::{Cell, RefCell};

/// Where what took long is noted, and from when on.
pub struct SlowCommands {
    pub log: RefCell<SlowLog>,
    pub latency: RefCell<LatencyMonitor>,
    /// From here on a command is looked at: the lesser of the next two.
    pub attention_ns: Cell<u64>,
    /// `slowlog-log-slower-than`; the greatest number is "off".
    pub slow_ns: Cell<u64>,
    /// `latency-monitor-threshold`; the greatest number is "off".
    pub spike_ns: Cell<u64>,
}

/// No threshold.
pub const OFF: u64 = u64::MAX;

impl Default for SlowCommands {
    fn default() -> Self {
        SlowCommands {
            log: RefCell::default(),
            latency: RefCell::default(),
            attention_ns: Cell::new(OFF),
            slow_ns: Cell::new(OFF),
            spike_ns: Cell::new(OFF),
        }
    }
}
