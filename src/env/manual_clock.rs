//! A clock that stands still until it is moved: the time of tests and of the simulation.
//!
//! Timers fire only when the clock moves: by deadline, those with the same deadline in the order in which
//! they were made. The wall clock may step without the monotonic one.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::env::clock::{Clock, NANOSECOND, Sleep};
use crate::model::time::TimeMs;

/// Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    time: Arc<Mutex<Time>>,
    /// Microseconds that the wall clock is ahead of the monotonic one.
    wall_ahead_us: Arc<AtomicI64>,
}

#[derive(Debug, Default)]
struct Time {
    now_ns: u64,
    timers_made: u64,
    /// By deadline and number. A timer enters at its first poll.
    timers: BTreeMap<(u64, u64), Waker>,
    /// What a simulated thread has spent so far, while one runs.
    elsewhere_ns: Option<u64>,
}

impl ManualClock {
    pub fn new(now: TimeMs) -> ManualClock {
        let clock = ManualClock::default();
        clock.set(now);
        clock
    }

    /// A clock with the same monotonic time and the same timers, and a wall clock of its own: that of another
    /// machine.
    pub fn with_own_wall(&self, now: TimeMs) -> ManualClock {
        let clock = ManualClock { time: Arc::clone(&self.time), wall_ahead_us: Arc::default() };
        clock.set(now);
        clock
    }

    /// Both clocks go on.
    pub fn advance(&self, ms: u64) {
        self.advance_by(Duration::from_millis(ms));
    }

    /// Both clocks go on. Timers that are due fire late, as after a stall.
    pub fn advance_by(&self, duration: Duration) {
        let now_ns = self.time().now_ns;
        self.advance_to(now_ns.saturating_add(nanoseconds(duration)));
    }

    /// Moves both clocks to the deadline of the next timer and fires the timers that are due. Returns the
    /// deadline in monotonic nanoseconds; `None` if no task waits for a timer.
    pub fn advance_to_next_timer(&self) -> Option<u64> {
        let deadline_ns = self.next_timer()?;
        self.advance_to(deadline_ns);
        Some(deadline_ns)
    }

    /// When the next timer fires, in monotonic nanoseconds.
    pub fn next_timer(&self) -> Option<u64> {
        self.time().timers.first_key_value().map(|(&(deadline_ns, _), _)| deadline_ns)
    }

    /// Moves both clocks until the monotonic one shows this time, and fires the timers that are due by then.
    /// A time that has passed moves nothing.
    pub fn advance_to(&self, monotonic_ns: u64) {
        let mut time = self.time();
        time.now_ns = time.now_ns.max(monotonic_ns);
        let first_later = (time.now_ns.saturating_add(1), 0);
        let later = time.timers.split_off(&first_later);
        let due = std::mem::replace(&mut time.timers, later);
        drop(time);
        // The time is unlocked: a waker may ask for it.
        due.into_values().for_each(Waker::wake);
    }

    /// The wall clock alone jumps, back if need be.
    pub fn set(&self, now: TimeMs) {
        let now_us = i64::try_from(now.0.saturating_mul(1000)).unwrap_or(i64::MAX);
        let monotonic_us = i64::try_from(self.monotonic_ns() / 1000).unwrap_or(i64::MAX);
        self.wall_ahead_us.store(now_us.saturating_sub(monotonic_us), Ordering::SeqCst);
    }

    /// The wall clock alone steps by so many milliseconds, back if they are negative.
    pub fn step_wall(&self, ms: i64) {
        self.wall_ahead_us.fetch_add(ms.saturating_mul(1000), Ordering::SeqCst);
    }

    /// Stands for work that blocks its thread, such as a sync. On a simulated thread it delays the outcome of
    /// that thread's work; elsewhere it advances the clock.
    pub fn spend(&self, duration: Duration) {
        let mut time = self.time();
        match &mut time.elsewhere_ns {
            Some(spent_ns) => *spent_ns = spent_ns.saturating_add(nanoseconds(duration)),
            None => {
                drop(time);
                self.advance_by(duration);
            }
        }
    }

    /// Does the work of a simulated thread and returns the time that the work spent. The clock stands still:
    /// the caller delays the outcome by that time. Panics when nested.
    pub fn elsewhere<T>(&self, work: impl FnOnce() -> T) -> (T, Duration) {
        let is_nested = self.time().elsewhere_ns.replace(0).is_some();
        assert!(!is_nested, "a simulated thread runs inside another one");
        let output = work();
        let spent_ns = self.time().elsewhere_ns.take().expect("set above");
        (output, Duration::from_nanos(spent_ns))
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().expect("nothing panics while it holds the time")
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock for ManualClock {
    fn now(&self) -> TimeMs {
        TimeMs(self.now_micros() / 1000)
    }

    fn now_micros(&self) -> u64 {
        let monotonic_us = i64::try_from(self.monotonic_ns() / 1000).unwrap_or(i64::MAX);
        let now_us = monotonic_us.saturating_add(self.wall_ahead_us.load(Ordering::SeqCst));
        // Like the system's clock, a time before 1970 reads as 0.
        u64::try_from(now_us).unwrap_or(0)
    }

    fn monotonic_ns(&self) -> u64 {
        let time = self.time();
        time.now_ns.saturating_add(time.elsewhere_ns.unwrap_or(0))
    }

    fn sleep_until(&self, monotonic_ns: u64) -> Sleep {
        let mut time = self.time();
        time.timers_made += 1;
        Box::pin(Timer { time: Arc::clone(&self.time), key: (monotonic_ns, time.timers_made) })
    }

    fn stall(&self, duration: Duration) {
        self.spend(duration);
    }

    fn ticks(&self) -> u64 {
        self.monotonic_ns()
    }

    fn tick_length(&self) -> u64 {
        NANOSECOND
    }
}

/// The deadline of a timer that is not meant to fire: the clock is not moved there.
const NEVER_NS: u64 = u64::MAX;

struct Timer {
    time: Arc<Mutex<Time>>,
    key: (u64, u64),
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut time = self.time.lock().expect("nothing panics while it holds the time");
        if self.key.0 <= time.now_ns {
            return Poll::Ready(());
        }
        if self.key.0 != NEVER_NS {
            time.timers.insert(self.key, context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // A waker that is dropped may drop a task, which may hold another timer.
        let waker = self.time.lock().ok().and_then(|mut time| time.timers.remove(&self.key));
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::clock::timeout;
    use crate::env::sim_executor::SimExecutor;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn a_manual_clock_moves_only_when_it_is_moved() {
        let clock = ManualClock::new(TimeMs(1000));
        clock.advance(5);
        assert_eq!((clock.now(), clock.monotonic_ms()), (TimeMs(1005), 5));
        clock.set(TimeMs(1));
        assert_eq!((clock.now(), clock.monotonic_ms()), (TimeMs(1), 5));
        clock.advance_by(Duration::from_nanos(1_234_567));
        assert_eq!((clock.now_micros(), clock.monotonic_ns(), clock.monotonic_ms()), (2_234, 6_234_567, 6));
        clock.step_wall(-5000);
        assert_eq!((clock.now(), clock.monotonic_ms()), (TimeMs(0), 6));
        clock.step_wall(5000);
        assert_eq!(clock.now(), TimeMs(2));
    }

    #[test]
    fn machines_share_the_time_and_differ_in_their_wall_clocks() {
        let one = ManualClock::new(TimeMs(1000));
        one.advance(5);
        let other = one.with_own_wall(TimeMs(77));
        other.advance(1);
        one.step_wall(-3);
        assert_eq!((one.now(), other.now()), (TimeMs(1003), TimeMs(78)));
        assert_eq!((one.monotonic_ms(), other.monotonic_ms()), (6, 6));
    }

    #[test]
    fn timers_fire_by_deadline_and_then_by_age() {
        let executor = SimExecutor::new();
        let clock = ManualClock::new(TimeMs(0));
        let fired = Rc::new(RefCell::new(Vec::new()));
        for (name, ms) in [("c", 7), ("a", 3), ("d", 7), ("now", 0), ("b", 3)] {
            let (sleep, fired, clock) =
                (clock.sleep(Duration::from_millis(ms)), fired.clone(), clock.clone());
            drop(executor.spawn(async move {
                sleep.await;
                fired.borrow_mut().push((name, clock.monotonic_ms()));
            }));
        }
        executor.run_until_idle();
        assert_eq!(*fired.borrow(), [("now", 0)]);
        assert_eq!(clock.advance_to_next_timer(), Some(3_000_000));
        executor.run_until_idle();
        assert_eq!(*fired.borrow(), [("now", 0), ("a", 3), ("b", 3)]);
        clock.advance(100);
        executor.run_until_idle();
        assert_eq!(fired.borrow()[3..], [("c", 103), ("d", 103)], "a stalled process is woken late");
        assert_eq!(clock.advance_to_next_timer(), None);
    }

    #[test]
    fn a_timer_for_the_end_of_time_does_not_move_the_clock() {
        let executor = SimExecutor::new();
        let clock = ManualClock::new(TimeMs(0));
        assert_eq!(executor.run_until(&clock, clock.sleep(Duration::MAX)), None);
        assert_eq!(clock.monotonic_ns(), 0);
    }

    #[test]
    fn a_timer_that_is_dropped_leaves_the_clock() {
        let clock = ManualClock::new(TimeMs(0));
        let mut sleep = clock.sleep(Duration::from_millis(1));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(clock.next_timer(), Some(1_000_000));
        drop(sleep);
        assert_eq!(clock.next_timer(), None);
    }

    #[test]
    fn what_takes_too_long_is_given_up() {
        let executor = SimExecutor::new();
        let clock = ManualClock::new(TimeMs(0));
        let (second, millisecond) = (Duration::from_secs(1), Duration::from_millis(1));
        let outcome = executor.run_until(&clock, {
            let clock = clock.clone();
            async move {
                let late = timeout(&clock, millisecond, clock.sleep(second)).await;
                let in_time = timeout(&clock, second, clock.sleep(millisecond)).await;
                let tie = timeout(&clock, second, clock.sleep(second)).await;
                (late, in_time, tie)
            }
        });
        assert_eq!(outcome, Some((None, Some(()), Some(()))));
        assert_eq!(clock.monotonic_ms(), 1002);
        assert_eq!(clock.next_timer(), None);
    }

    #[test]
    fn a_simulated_thread_spends_its_own_time() {
        let clock = ManualClock::new(TimeMs(0));
        clock.spend(Duration::from_millis(2));
        let (inside, spent) = clock.elsewhere(|| {
            clock.spend(Duration::from_millis(3));
            clock.monotonic_ms()
        });
        assert_eq!((inside, spent, clock.monotonic_ms()), (5, Duration::from_millis(3), 2));
    }
}
