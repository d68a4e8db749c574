//! The time of the log: entries are stamped with it, and every read judges deadlines and idle times by it.
//!
//! Log time runs with the monotonic clock, because it measures durations: times to live, idle times, the age
//! of idempotent ids. It also follows the wall clock, because ids and absolute deadlines are read by people
//! and other programs. Where the two disagree, durations win:
//!
//! * **The wall clock is behind.** Log time never goes back. It runs on, slower by [`SLEW`] until the wall
//!   clock has caught up.
//! * **The wall clock is ahead by up to [`STEP_US`].** Log time runs faster by [`SLEW`] until it has caught
//!   up.
//! * **The wall clock is ahead by more.** Either this process was suspended, or the clock has been corrected,
//!   or it is wrong. Nobody can tell but by waiting: log time stays with the monotonic clock until the
//!   difference has stood for a sixtieth of its length, at least [`HOLD_US_MIN`] and at most [`HOLD_US_MAX`].
//!   Then log time jumps to the wall clock. A difference that changes meanwhile waits anew.
//!
//! **A start** continues from the last time in the log. A wall clock that is ahead of that by up to
//! [`DOWNTIME_US_MAX`] counts as the time that the server was down; one that is further ahead waits as above.
//! With a wall clock that is behind, the time since the last entry is not known and does not count.
//!
//! So between two jumps a duration in log time differs from the real one by 1/4096 at most: by less than a
//! second in an hour.

use crate::model::time::TimeMs;

/// A difference to the wall clock of up to a second is made up for slowly, a greater one is a step.
pub const STEP_US: i64 = 1_000_000;

/// A step ahead is believed when it has stood for so long: a sixtieth of its length, within these bounds.
pub const HOLD_US_MIN: u64 = 10 * 1_000_000;
pub const HOLD_US_MAX: u64 = 3600 * 1_000_000;
const HOLD_SHARE: u64 = 60;

/// The longest time between the last entry and a start that is believed at once: 30 days.
pub const DOWNTIME_US_MAX: i64 = 30 * 86_400 * 1_000_000;

/// Log time that makes up for a difference gains or loses one part in 2¹² (4096).
const SLEW: u32 = 12;

/// A smaller difference proves nothing: the two clocks are read one after the other.
const NOISE_US: i64 = 1000;

/// A change of how the wall clock stands to the log, each reported once. Durations in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The wall clock is behind the log.
    Behind { by_us: u64 },
    /// The wall clock is ahead of the log, and is believed if it stays so.
    Ahead { by_us: u64, believed_in_us: u64 },
    /// Log time has jumped ahead to the wall clock.
    Believed { by_us: u64 },
    /// The two agree again, to a second.
    Over,
}

/// How the wall clock stands to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wall {
    Agrees,
    /// By so much when the step was counted.
    Behind {
        by_us: i64,
    },
    Ahead {
        by_us: i64,
        since_us: u64,
    },
}

/// Pure: it is told the times of both clocks in microseconds, `at_us` by the monotonic one.
///
/// Invariants: what [`LogClock::now`] gives never goes back; only a step that was waited for makes it jump.
#[derive(Debug)]
pub struct LogClock {
    /// Log time at `at_us`.
    log_us: u64,
    at_us: u64,
    /// 1, 0, −1: since `at_us` log time is fast, even, slow.
    pace: i64,
    wall: Wall,
    steps: u64,
}

impl LogClock {
    /// `last`: the greatest time in the log, 0 if nothing is there.
    pub fn start(last: TimeMs, wall_us: u64, at_us: u64) -> LogClock {
        let last_us = last.0.saturating_mul(1000);
        let is_downtime = (0..=DOWNTIME_US_MAX).contains(&difference(wall_us, last_us));
        let log_us = if last.0 == 0 || is_downtime { wall_us } else { last_us };
        LogClock { log_us, at_us, pace: 0, wall: Wall::Agrees, steps: 0 }
    }

    /// The time for an entry or a read.
    #[inline]
    pub fn now(&self, at_us: u64) -> TimeMs {
        TimeMs(self.log_us(at_us) / 1000)
    }

    #[inline]
    fn log_us(&self, at_us: u64) -> u64 {
        let elapsed_us = at_us.saturating_sub(self.at_us);
        let slewed_us = (elapsed_us >> SLEW) as i64 * self.pace;
        self.log_us.saturating_add(elapsed_us).saturating_add_signed(slewed_us)
    }

    /// The log holds an entry of another node with this time: log time does not stay behind it.
    pub fn keep_up(&mut self, time: TimeMs, at_us: u64) {
        self.move_to(at_us);
        self.log_us = self.log_us.max(time.0.saturating_mul(1000));
    }

    /// Compares with the wall clock, several times a second. `wall_us` was read before `at_us`: a thread that
    /// is stopped between the two then sees a wall clock that is behind, which costs nothing.
    pub fn look(&mut self, wall_us: u64, at_us: u64) -> Option<Step> {
        self.move_to(at_us);
        let ahead_us = difference(wall_us, self.log_us);
        if ahead_us > STEP_US {
            self.pace = 0;
            return self.look_ahead(ahead_us, at_us);
        }
        self.pace = if ahead_us.abs() > NOISE_US { ahead_us.signum() } else { 0 };
        if ahead_us >= -STEP_US {
            let was = std::mem::replace(&mut self.wall, Wall::Agrees);
            return (was != Wall::Agrees).then_some(Step::Over);
        }
        let behind = Wall::Behind { by_us: -ahead_us };
        match self.wall {
            Wall::Behind { by_us } if -ahead_us <= by_us + STEP_US => return None,
            _ => self.steps += 1,
        }
        let was = std::mem::replace(&mut self.wall, behind);
        let is_new = !matches!(was, Wall::Behind { .. });
        is_new.then_some(Step::Behind { by_us: ahead_us.unsigned_abs() })
    }

    fn look_ahead(&mut self, ahead_us: i64, at_us: u64) -> Option<Step> {
        match self.wall {
            Wall::Ahead { by_us, since_us } if (by_us - ahead_us).abs() <= STEP_US => {
                if at_us - since_us < hold_us(by_us) {
                    return None;
                }
                self.log_us = self.log_us.saturating_add_signed(ahead_us);
                self.wall = Wall::Agrees;
                Some(Step::Believed { by_us: ahead_us.unsigned_abs() })
            }
            was => {
                self.steps += 1;
                self.wall = Wall::Ahead { by_us: ahead_us, since_us: at_us };
                let step = Step::Ahead { by_us: ahead_us.unsigned_abs(), believed_in_us: hold_us(ahead_us) };
                (!matches!(was, Wall::Ahead { .. })).then_some(step)
            }
        }
    }

    /// Milliseconds by which log time is ahead of the wall clock; negative if it is behind.
    pub fn ahead_ms(&self, wall_us: u64, at_us: u64) -> i64 {
        difference(self.log_us(at_us), wall_us) / 1000
    }

    /// When the step ahead that was seen last is believed, in microseconds from now; `None` without one.
    pub fn believed_in_us(&self, at_us: u64) -> Option<u64> {
        match self.wall {
            Wall::Ahead { by_us, since_us } => Some((since_us + hold_us(by_us)).saturating_sub(at_us)),
            _ => None,
        }
    }

    /// Steps of the wall clock since the start, back or ahead.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn move_to(&mut self, at_us: u64) {
        self.log_us = self.log_us(at_us);
        self.at_us = self.at_us.max(at_us);
    }
}

fn hold_us(ahead_us: i64) -> u64 {
    (ahead_us.unsigned_abs() / HOLD_SHARE).clamp(HOLD_US_MIN, HOLD_US_MAX)
}

/// Saturating far from both ends, so that differences can be compared with each other.
fn difference(later_us: u64, earlier_us: u64) -> i64 {
    const MAX: i128 = i64::MAX as i128 / 4;
    (i128::from(later_us) - i128::from(earlier_us)).clamp(-MAX, MAX) as i64
}

#[cfg(test)]
#[path = "log_clock_tests.rs"]
mod tests;
