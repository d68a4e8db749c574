//! Where syncs are made, and how long they are waited for.

use std::time::Duration;

use crate::config::config::FlushPolicy;

/// Chooses by the duration of syncs: waiting for a quick one saves two turns of the event loop per round, but a
/// slow disk would stall the engine. The first slow sync of a quick disk does stall it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    policy: FlushPolicy,
    is_quick: bool,
    average: Duration,
    /// Syncs that are watched yet, since one was slow.
    watched_left: u32,
}

/// How the next sync is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// On the engine's thread.
    Inline,
    /// On the flusher, while the engine's thread waits for at most [`Pace::STALL_MAX`].
    Watched,
    /// On the flusher, while the engine's thread goes on.
    Elsewhere,
}

impl Pace {
    /// Above this average the engine's thread goes on while the disk syncs, below half of it it waits again.
    const QUICK_MAX: Duration = Duration::from_millis(1);

    /// A watched sync stalls the engine's thread for this long at most.
    pub const STALL_MAX: Duration = Duration::from_millis(2);

    /// A sync that takes longer is slow.
    const SLOW_MIN: Duration = Duration::from_millis(10);

    /// So many syncs are watched after a slow one. Handing a sync over costs up to a fifth of
    /// the rate where every request waits for one, so it is done where slow syncs happen.
    const WATCHED: u32 = 10_000;

    /// A slow disk gathers while it syncs.
    const GATHER_MAX: Duration = Duration::from_micros(100);

    pub fn new(policy: FlushPolicy) -> Pace {
        Pace { policy, is_quick: true, average: Duration::ZERO, watched_left: 0 }
    }

    pub fn way(self) -> Way {
        match self.policy {
            FlushPolicy::Inline => Way::Inline,
            FlushPolicy::Thread => Way::Elsewhere,
            FlushPolicy::Auto if !self.is_quick => Way::Elsewhere,
            FlushPolicy::Auto if self.watched_left > 0 => Way::Watched,
            FlushPolicy::Auto => Way::Inline,
        }
    }

    /// A share of the average: what is gathered in that time saves a whole sync.
    pub fn gather_max(self) -> Duration {
        (self.average / 2).min(Self::GATHER_MAX)
    }

    /// A moving average over about 16 syncs. One that took much longer than those before counts as one that
    /// took somewhat longer: most disks have a slow sync now and then, and only slow ones have many.
    pub fn after(self, took: Duration) -> Pace {
        let most = self.average.max(Self::QUICK_MAX / 4) * 3;
        let average = (self.average * 15 + took.min(most)) / 16;
        let quick_max = if self.is_quick { Self::QUICK_MAX } else { Self::QUICK_MAX / 2 };
        let is_quick = average < quick_max;
        if is_quick != self.is_quick && self.policy == FlushPolicy::Auto {
            tracing::debug!(
                average_us = average.as_micros() as u64,
                is_quick,
                "changed how syncs are waited for"
            );
        }
        let watched_left =
            if took > Self::SLOW_MIN { Self::WATCHED } else { self.watched_left.saturating_sub(1) };
        Pace { average, is_quick, watched_left, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_move_to_a_thread_when_they_are_slow_and_back_when_they_are_not() {
        let mut pace = Pace::new(FlushPolicy::Auto);
        assert_eq!(pace.way(), Way::Inline);
        for _ in 0..40 {
            pace = pace.after(Duration::from_millis(5));
        }
        assert_eq!(pace.way(), Way::Elsewhere);
        for _ in 0..100 {
            pace = pace.after(Duration::from_micros(100));
        }
        assert_eq!(pace.way(), Way::Inline);
        assert_eq!(Pace::new(FlushPolicy::Thread).after(Duration::ZERO).way(), Way::Elsewhere);
        assert_eq!(Pace::new(FlushPolicy::Inline).after(Duration::from_secs(1)).way(), Way::Inline);
    }

    #[test]
    fn syncs_are_watched_for_a_while_after_a_slow_one() {
        let mut pace = Pace::new(FlushPolicy::Auto).after(Pace::STALL_MAX * 10);
        for _ in 0..Pace::WATCHED {
            assert_eq!(pace.way(), Way::Watched);
            pace = pace.after(Duration::from_micros(200));
        }
        assert_eq!(pace.way(), Way::Inline);
    }

    #[test]
    fn a_slow_sync_now_and_then_moves_nothing() {
        let mut pace = Pace::new(FlushPolicy::Auto);
        for number in 0..1000 {
            let is_slow = number % 20 == 0;
            pace = pace.after(if is_slow { Duration::from_secs(2) } else { Duration::from_micros(200) });
            assert_eq!(pace.way(), Way::Watched, "sync {number}");
        }
    }
}
