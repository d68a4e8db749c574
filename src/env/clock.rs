//! Wall clock and monotonic clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::TimeMs;

pub trait Clock: Send + Sync {
    /// Wall clock: may step back and forth.
    fn now(&self) -> TimeMs;

    /// The same in microseconds, as far as the clock is that fine.
    fn now_micros(&self) -> u64 {
        self.now().0 * 1000
    }

    /// Milliseconds since some fixed point of this process; never goes back.
    fn monotonic_ms(&self) -> u64;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub fn new() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> TimeMs {
        // A clock before 1970 reads as 0: ids are then carried by the last id of their stream.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimeMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is moved: for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    pub fn new(now: TimeMs) -> ManualClock {
        ManualClock { wall_ms: AtomicU64::new(now.0), monotonic_ms: AtomicU64::new(0) }
    }

    /// Both clocks go on.
    pub fn advance(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// The wall clock alone jumps, back if need be.
    pub fn set(&self, now: TimeMs) {
        self.wall_ms.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> TimeMs {
        TimeMs(self.wall_ms.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_it_is_moved() {
        let clock = ManualClock::new(TimeMs(1000));
        clock.advance(5);
        assert_eq!((clock.now(), clock.monotonic_ms()), (TimeMs(1005), 5));
        clock.set(TimeMs(1));
        assert_eq!((clock.now(), clock.monotonic_ms()), (TimeMs(1), 5));
    }
}
