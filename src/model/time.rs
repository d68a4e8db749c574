//! Points in time as the log records them.

/// Milliseconds since the Unix epoch on the clock of the node that stamped the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TimeMs(pub u64);

impl TimeMs {
    /// Milliseconds since `earlier`, 0 if `earlier` is later: clocks step back, but idle times are never
    /// negative.
    pub fn since(self, earlier: TimeMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
