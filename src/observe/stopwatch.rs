//! Attributes a thread's time, one clock reading after the other.

use crate::env::clock::{self, Clock};
use std::cell::Cell;
use std::sync::Arc;

/// The end of one piece of work is the start of the next, so a run of requests costs one reading each.
pub struct Stopwatch {
    clock: Arc<dyn Clock>,
    /// [`Clock::counts_cycles`]
    counts_cycles: bool,
    last: Cell<u64>,
    /// [`Clock::tick_length`]
    tick_length: Cell<u64>,
}

impl Stopwatch {
    pub fn new(clock: Arc<dyn Clock>) -> Stopwatch {
        let tick_length = clock.tick_length();
        Stopwatch {
            last: Cell::new(clock.ticks()),
            tick_length: Cell::new(tick_length),
            counts_cycles: clock.counts_cycles(),
            clock,
        }
    }

    #[inline]
    fn read(&self) -> u64 {
        if self.counts_cycles { clock::cycles() } else { self.clock.ticks() }
    }

    /// Starts a piece of work; the time before it is attributed to nothing.
    #[inline]
    pub fn start(&self) {
        self.last.set(self.read());
    }

    /// Nanoseconds since the last reading.
    #[inline]
    pub fn lap(&self) -> u64 {
        let now = self.read();
        self.nanoseconds(now.saturating_sub(self.last.replace(now)))
    }

    /// The last reading, for [`Stopwatch::since`].
    #[inline]
    pub fn mark(&self) -> u64 {
        self.last.get()
    }

    /// Nanoseconds from an earlier reading to the last one, without reading the clock.
    #[inline]
    pub fn since(&self, mark: u64) -> u64 {
        self.nanoseconds(self.last.get().saturating_sub(mark))
    }

    /// Measures the tick length again. Call it now and then.
    pub fn adjust(&self) {
        self.tick_length.set(self.clock.tick_length());
    }

    #[inline]
    fn nanoseconds(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.tick_length.get())) >> 32) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::manual_clock::ManualClock;
    use crate::model::time::TimeMs;

    #[test]
    fn a_lap_begins_where_the_one_before_ended() {
        let clock = Arc::new(ManualClock::new(TimeMs(0)));
        let watch = Stopwatch::new(clock.clone());
        clock.advance(5);
        watch.start();
        let mark = watch.mark();
        clock.advance(2);
        assert_eq!(watch.lap(), 2_000_000);
        assert_eq!(watch.lap(), 0);
        clock.advance(1);
        assert_eq!((watch.lap(), watch.since(mark)), (1_000_000, 3_000_000));
    }
}
