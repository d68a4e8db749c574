//! The steps of the wall clock, which the log must not follow: back, and there again within a life; ahead,
//! and back before that is believed.

use super::run::Run;

pub const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// A step ahead is over after this time, or soon after: it would be believed after ten seconds.
const GLITCH_MS: u64 = 2000;

#[derive(Default)]
pub struct WallClock {
    /// How far it has gone back in this life.
    back_ms: u64,
    /// By how much it is ahead, and until when by the monotonic clock.
    glitch: Option<(u64, u64)>,
    /// A start has found it a year ahead. Such a start cannot know for how long the server was down.
    has_misled_a_start: bool,
}

impl WallClock {
    /// Idle times follow the monotonic clock.
    pub fn is_exact(&self) -> bool {
        !self.has_misled_a_start
    }
}

impl Run {
    pub(super) fn step_wall_clock(&mut self) {
        if self.wall.glitch.is_some() {
            return self.end_glitch();
        }
        let ms = [1, 50, 5_000, 3_600_000][self.below(4) as usize];
        match self.below(3) {
            0 => {
                self.wall.back_ms += ms;
                self.move_wall_clock(-(ms as i64));
            }
            1 => {
                let ms = std::mem::take(&mut self.wall.back_ms);
                self.move_wall_clock(ms as i64);
            }
            _ => {
                let ms = if self.random.chance(50) { YEAR_MS } else { ms };
                self.wall.glitch = Some((ms, self.now_ms() + GLITCH_MS));
                self.move_wall_clock(ms as i64);
                self.counters.glitches += 1;
            }
        }
    }

    /// To be called wherever time passes.
    pub(super) fn end_glitch_in_time(&mut self) {
        if self.wall.glitch.is_some_and(|(_, until_ms)| self.now_ms() >= until_ms) {
            self.end_glitch();
        }
    }

    fn end_glitch(&mut self) {
        if let Some((ms, _)) = self.wall.glitch.take() {
            self.move_wall_clock(-(ms as i64));
        }
    }

    /// A life is over. A start believes the wall clock that it finds, unless it is ahead by more than a
    /// server is likely to have been down.
    pub(super) fn prepare_wall_clock(&mut self) {
        self.wall.back_ms = 0;
        match self.wall.glitch {
            Some((YEAR_MS, _)) => {
                self.wall.glitch = Some((YEAR_MS, self.now_ms() + GLITCH_MS));
                self.wall.has_misled_a_start = true;
                self.counters.misled_starts += 1;
            }
            _ => self.end_glitch(),
        }
    }

    fn move_wall_clock(&mut self, ms: i64) {
        self.note(format!("the wall clock steps by {ms} ms"));
        self.world.clock.step_wall(ms);
        self.counters.clock_steps += 1;
    }
}
