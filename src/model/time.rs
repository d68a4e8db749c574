//! Points in time, as the log carries them.

/// Milliseconds since the Unix epoch, by the clock of the node that stamped the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TimeMs(pub u64);

impl TimeMs {
    /// Milliseconds from `earlier` to here, 0 if `earlier` is later: clocks step back, idle times do not go negative.
    pub fn since(self, earlier: TimeMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
