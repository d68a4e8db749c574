//! Wall clock, monotonic clock and timers. The simulated tenant is [`crate::env::manual_clock::ManualClock`].

use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::TimeMs;

pub trait Clock: Send + Sync {
    /// The wall clock: may step back and forth.
    fn now(&self) -> TimeMs;

    /// The same in microseconds, within the clock's resolution.
    fn now_micros(&self) -> u64 {
        self.now().0 * 1000
    }

    /// Milliseconds since a fixed point of this process; never goes back.
    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ns() / NANOSECONDS_PER_MS
    }

    /// Nanoseconds since the same fixed point; never goes back. For durations and deadlines.
    fn monotonic_ns(&self) -> u64;

    /// The same in microseconds.
    fn monotonic_us(&self) -> u64 {
        self.monotonic_ns() / 1000
    }

    /// Waits until [`Clock::monotonic_ns`] reaches the deadline. A deadline that has passed is ready at the
    /// first poll.
    fn sleep_until(&self, monotonic_ns: u64) -> Sleep;

    /// Waits for a duration that begins now.
    fn sleep(&self, duration: Duration) -> Sleep {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sleep_until(self.monotonic_ns().saturating_add(ns))
    }

    /// Stops the calling thread for this time.
    fn stall(&self, duration: Duration);

    /// A steady counter for the durations of single commands: the cheapest clock. Only differences have a
    /// meaning; see [`Clock::tick_length`].
    fn ticks(&self) -> u64;

    /// Whether [`Clock::ticks`] are [`cycles`]: the path of every request reads those directly.
    fn counts_cycles(&self) -> bool {
        false
    }

    /// Nanoseconds of one of [`Clock::ticks`], times 2³². The precision grows with the age of the process.
    fn tick_length(&self) -> u64;
}

/// A timer; dropping it takes it off the clock.
pub type Sleep = Pin<Box<dyn Future<Output = ()>>>;

/// The result of the future, or `None` if `limit` passes first. A ready future wins against a ready timer.
pub async fn timeout<F: Future>(clock: &dyn Clock, limit: Duration, future: F) -> Option<F::Output> {
    let mut timer = clock.sleep(limit);
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// [`Clock::tick_length`] of a clock whose ticks are nanoseconds.
pub const NANOSECOND: u64 = 1 << 32;

const NANOSECONDS_PER_MS: u64 = 1_000_000;

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    /// The processor's counter at `start`, if the processor has a reliable one.
    start_cycles: Option<u64>,
}

/// Minimum time over which the counter is compared with the system's clock.
const CALIBRATION: Duration = Duration::from_millis(1);

impl SystemClock {
    pub fn new() -> SystemClock {
        SystemClock { start: Instant::now(), start_cycles: cycles::read_if_even() }
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

    fn now_micros(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A timer of tokio, with a resolution of one millisecond: never early. Works only in tokio's runtime.
    fn sleep_until(&self, monotonic_ns: u64) -> Sleep {
        match self.start.checked_add(Duration::from_nanos(monotonic_ns)) {
            Some(deadline) => Box::pin(tokio::time::sleep_until(deadline.into())),
            None => Box::pin(std::future::pending()),
        }
    }

    fn stall(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    #[inline]
    fn ticks(&self) -> u64 {
        match self.start_cycles {
            Some(_) => cycles(),
            None => self.start.elapsed().as_nanos() as u64,
        }
    }

    fn counts_cycles(&self) -> bool {
        self.start_cycles.is_some()
    }

    fn tick_length(&self) -> u64 {
        let Some(start) = self.start_cycles else { return NANOSECOND };
        while self.start.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let counted = u128::from(cycles().saturating_sub(start).max(1));
        let length = (self.start.elapsed().as_nanos() << 32) / counted;
        u64::try_from(length).unwrap_or(NANOSECOND)
    }
}

/// The processor's own counter: a quarter of the cost of the system's clock. Only if
/// [`Clock::counts_cycles`].
#[inline]
pub fn cycles() -> u64 {
    cycles::read()
}

#[cfg(target_arch = "x86_64")]
mod cycles {
    use std::arch::x86_64::{__cpuid, _rdtsc};

    /// Bit 8 of EDX in this leaf of CPUID: the counter is steady, independent of the processor's frequency
    /// and sleep states.
    const INVARIANT_LEAF: u32 = 0x8000_0007;
    const INVARIANT_BIT: u32 = 1 << 8;

    #[inline]
    pub fn read() -> u64 {
        // SAFETY: every processor of this architecture has the instruction; it reads a register.
        unsafe { _rdtsc() }
    }

    /// `None` if the counter may change its pace.
    #[allow(unused_unsafe, reason = "safe since Rust 1.93")]
    pub fn read_if_even() -> Option<u64> {
        // SAFETY: every 64-bit processor has CPUID, and the highest leaf is asked for first.
        let even = unsafe {
            __cpuid(0x8000_0000).eax >= INVARIANT_LEAF && __cpuid(INVARIANT_LEAF).edx & INVARIANT_BIT != 0
        };
        even.then(read)
    }
}

/// Other architectures use the system's clock.
#[cfg(not(target_arch = "x86_64"))]
mod cycles {
    pub fn read() -> u64 {
        unreachable!("there is no counter")
    }

    pub fn read_if_even() -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_measure_what_the_system_s_clock_measures() {
        let clock = SystemClock::new();
        let length = clock.tick_length();
        let (started, first) = (Instant::now(), clock.ticks());
        while started.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let ticks = clock.ticks() - first;
        let elapsed = started.elapsed().as_nanos() as f64;
        let measured = ((u128::from(ticks) * u128::from(length)) >> 32) as f64;
        // The thread may have been taken off the processor between the two readings: the later one is never
        // smaller.
        assert!(measured <= elapsed * 1.05 && measured >= 19_000_000.0, "{measured} ns of {elapsed} ns");
    }

    #[test]
    fn a_timer_of_the_system_s_clock_is_never_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let clock = SystemClock::new();
            let deadline = clock.monotonic_ns() + 3_000_000;
            clock.sleep_until(deadline).await;
            assert!(clock.monotonic_ns() >= deadline);
            assert_eq!(timeout(&clock, Duration::from_millis(1), std::future::pending::<()>()).await, None);
            assert_eq!(timeout(&clock, Duration::MAX, std::future::ready(7)).await, Some(7));
        });
    }
}
