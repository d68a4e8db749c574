//! The choice of thread for syncs: the engine's or the flusher's.

use std::time::Duration;

use crate::config::config::FlushPolicy;

/// Chooses the thread by the duration of syncs: the engine's thread saves two thread switches per round, but
/// a slow disk would stall it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    policy: FlushPolicy,
    pub inline: bool,
    average: Duration,
}

impl Pace {
    /// Above this average syncs move to the flusher, below half of it back to the engine's thread.
    const INLINE_MAX: Duration = Duration::from_millis(1);

    pub fn new(policy: FlushPolicy) -> Pace {
        Pace { policy, inline: policy != FlushPolicy::Thread, average: Duration::ZERO }
    }

    /// A moving average over about 16 syncs. One that took much longer than those before counts as one that
    /// took somewhat longer: most disks have a slow sync now and then, and only slow ones have many.
    pub fn after(self, took: Duration) -> Pace {
        let most = self.average.max(Self::INLINE_MAX / 4) * 3;
        let average = (self.average * 15 + took.min(most)) / 16;
        let inline = match self.policy {
            FlushPolicy::Inline => true,
            FlushPolicy::Thread => false,
            FlushPolicy::Auto if self.inline => average < Self::INLINE_MAX,
            FlushPolicy::Auto => average < Self::INLINE_MAX / 2,
        };
        if inline != self.inline {
            tracing::info!(average_us = average.as_micros() as u64, inline, "changed where syncs are made");
        }
        Pace { average, inline, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_move_to_a_thread_when_they_are_slow_and_back_when_they_are_not() {
        let mut pace = Pace::new(FlushPolicy::Auto);
        assert!(pace.inline);
        for _ in 0..40 {
            pace = pace.after(Duration::from_millis(5));
        }
        assert!(!pace.inline);
        for _ in 0..100 {
            pace = pace.after(Duration::from_micros(100));
        }
        assert!(pace.inline);
        assert!(!Pace::new(FlushPolicy::Thread).after(Duration::ZERO).inline);
    }

    #[test]
    fn a_slow_sync_now_and_then_moves_nothing() {
        let mut pace = Pace::new(FlushPolicy::Auto);
        for number in 0..1000 {
            let is_slow = number % 20 == 0;
            pace = pace.after(if is_slow { Duration::from_secs(2) } else { Duration::from_micros(200) });
            assert!(pace.inline, "sync {number}");
        }
    }
}
