use super::*;
use crate::env::entropy::SeededEntropy;

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;
const YEAR: u64 = 365 * 24 * HOUR;

/// A wall clock with a base and a monotonic clock, both in microseconds, and looks ten times a second.
struct World {
    clock: LogClock,
    at_us: u64,
    /// The wall clock is the monotonic one plus this.
    offset_us: i64,
    steps: Vec<Step>,
}

const BASE: i64 = 1_700_000_000 * SECOND as i64;

impl World {
    fn new() -> World {
        World::after(TimeMs(0), BASE)
    }

    fn after(last: TimeMs, offset_us: i64) -> World {
        let clock = LogClock::start(last, offset_us as u64, 0);
        World { clock, at_us: 0, offset_us, steps: Vec::new() }
    }

    fn wall_us(&self) -> u64 {
        (self.at_us as i64 + self.offset_us) as u64
    }

    fn pass(&mut self, us: u64) {
        let end_us = self.at_us + us;
        while self.at_us < end_us {
            self.at_us = end_us.min(self.at_us + SECOND / 10);
            let step = self.clock.look(self.wall_us(), self.at_us);
            self.steps.extend(step);
        }
    }

    fn step(&mut self, us: i64) {
        self.offset_us += us;
    }

    fn now_ms(&self) -> u64 {
        self.clock.now(self.at_us).0
    }

    /// Milliseconds of the log since the first wall time.
    fn elapsed_ms(&self) -> u64 {
        self.now_ms() - BASE as u64 / 1000
    }
}

#[test]
fn log_time_is_the_wall_clock_s_while_that_is_even() {
    let mut world = World::new();
    world.pass(HOUR);
    assert_eq!((world.now_ms(), world.steps.len()), (world.wall_us() / 1000, 0));
    assert_eq!(world.clock.ahead_ms(world.wall_us(), world.at_us), 0);
}

#[test]
fn time_runs_on_while_the_wall_clock_is_an_hour_behind() {
    let mut world = World::new();
    world.step(-(HOUR as i64));
    world.pass(HOUR);
    assert!((3_599_000..=3_600_000).contains(&world.elapsed_ms()), "{}", world.elapsed_ms());
    assert_eq!(world.steps, [Step::Behind { by_us: HOUR }]);
    world.step(HOUR as i64);
    world.pass(10 * SECOND);
    assert_eq!(world.steps[1..], [Step::Over]);
    assert!((3_609_000..=3_610_000).contains(&world.elapsed_ms()), "{}", world.elapsed_ms());
}

#[test]
fn a_year_ahead_and_back_leaves_no_trace() {
    let mut world = World::new();
    world.step(YEAR as i64);
    world.pass(HOLD_US_MAX - SECOND);
    assert_eq!(world.elapsed_ms(), 3_599_000);
    world.step(-(YEAR as i64));
    world.pass(HOUR);
    assert_eq!(world.elapsed_ms(), 2 * 3_600_000 - 1000);
    assert_eq!(
        world.steps,
        [Step::Ahead { by_us: YEAR, believed_in_us: HOLD_US_MAX }, Step::Over],
        "one warning each"
    );
}

#[test]
fn a_step_ahead_that_stays_is_believed_in_proportion_to_its_length() {
    for (ahead_us, hold_us) in
        [(2 * SECOND, 10 * SECOND), (HOUR, 60 * SECOND), (24 * HOUR, 24 * 60 * SECOND), (YEAR, HOUR)]
    {
        let mut world = World::new();
        world.step(ahead_us as i64);
        world.pass(hold_us);
        assert_eq!(world.elapsed_ms(), hold_us / 1000, "{ahead_us} µs");
        assert_eq!(world.clock.believed_in_us(world.at_us), Some(SECOND / 10));
        assert_eq!(world.clock.ahead_ms(world.wall_us(), world.at_us), -(ahead_us as i64 / 1000));
        world.pass(SECOND);
        assert_eq!(world.now_ms(), world.wall_us() / 1000, "{ahead_us} µs");
        assert_eq!((world.clock.believed_in_us(world.at_us), world.clock.steps()), (None, 1));
    }
}

#[test]
fn a_step_that_changes_waits_anew() {
    let mut world = World::new();
    world.step(HOUR as i64);
    world.pass(59 * SECOND);
    world.step(5 * SECOND as i64);
    world.pass(59 * SECOND);
    assert_eq!((world.elapsed_ms(), world.clock.steps()), (118_000, 2));
    world.pass(3 * SECOND);
    assert_eq!(world.now_ms(), world.wall_us() / 1000);
}

#[test]
fn a_wall_clock_that_runs_wild_is_not_followed() {
    let mut world = World::new();
    for _ in 0..600 {
        world.step(SECOND as i64 * 9 / 10);
        world.pass(SECOND / 10);
    }
    assert!((60_000..60_030).contains(&world.elapsed_ms()), "{}", world.elapsed_ms());
}

#[test]
fn small_differences_are_made_up_for_slowly() {
    for step_us in [-800_000, 800_000] {
        let mut world = World::new();
        world.step(step_us);
        world.pass(60 * SECOND);
        let off_ms = world.elapsed_ms() as i64 - 60_000;
        assert!((13..=15).contains(&(off_ms * step_us.signum())), "{step_us} µs: {off_ms} ms");
        world.pass(2 * HOUR);
        assert!(world.clock.ahead_ms(world.wall_us(), world.at_us).abs() <= 1, "{step_us} µs");
        assert_eq!(world.steps, []);
    }
}

#[test]
fn a_start_counts_the_time_that_the_server_was_down() {
    let week_us = 7 * 24 * HOUR as i64;
    let mut world = World::after(TimeMs(BASE as u64 / 1000), BASE + week_us);
    world.pass(SECOND);
    assert_eq!((world.elapsed_ms(), world.steps.len()), (week_us as u64 / 1000 + 1000, 0));
}

#[test]
fn a_start_does_not_believe_a_year_at_once() {
    let mut world = World::after(TimeMs(BASE as u64 / 1000), BASE + YEAR as i64);
    world.pass(60 * SECOND);
    assert_eq!(world.elapsed_ms(), 60_000);
    world.pass(HOLD_US_MAX);
    assert_eq!(world.now_ms(), world.wall_us() / 1000);
}

#[test]
fn a_start_behind_the_log_goes_on_from_there() {
    let mut world = World::after(TimeMs(BASE as u64 / 1000), BASE - YEAR as i64);
    world.pass(60 * SECOND);
    assert!((59_980..=60_000).contains(&world.elapsed_ms()), "{}", world.elapsed_ms());
    assert_eq!(world.clock.steps(), 1);
}

#[test]
fn log_time_is_never_behind_an_entry_of_another_node() {
    let mut world = World::new();
    world.pass(SECOND);
    world.clock.keep_up(TimeMs(BASE as u64 / 1000 + 5000), world.at_us);
    world.pass(SECOND);
    assert!((5999..=6000).contains(&world.elapsed_ms()), "{}", world.elapsed_ms());
    world.clock.keep_up(TimeMs(1), world.at_us);
    assert!(world.elapsed_ms() >= 5999);
}

/// Whatever the wall clock does: time never goes back, it is as even as promised, and it jumps only to a wall
/// clock that has stood for as long as the jump asks.
#[test]
fn log_time_is_even_but_for_steps_that_have_stood() {
    for seed in 0..200 {
        let random = SeededEntropy::new(seed);
        let mut world = World::new();
        let (mut log_us, mut at_us) = (BASE as u64, 0);
        // How the wall clock stood to the monotonic one at each look.
        let mut seen: Vec<(u64, i64)> = Vec::new();
        for _ in 0..300 {
            if random.chance(10) {
                let size = [1000, SECOND, 10 * SECOND, HOUR, YEAR][random.below(5) as usize];
                let us = 1 + random.below(size) as i64;
                world.step(if random.chance(50) { us } else { -us });
            }
            if random.chance(3) {
                world.offset_us = BASE;
            }
            world.at_us +=
                1 + random.below([SECOND / 10, SECOND, 30 * SECOND, HOUR][random.below(4) as usize]);
            let step = world.clock.look(world.wall_us(), world.at_us);
            seen.push((world.at_us, world.offset_us));
            let advance_us = world.clock.log_us(world.at_us).checked_sub(log_us).expect("never back");
            let elapsed_us = world.at_us - at_us;
            let is_even = advance_us.abs_diff(elapsed_us) <= (elapsed_us >> SLEW);
            match step {
                Some(Step::Believed { by_us }) => {
                    assert_eq!(world.clock.log_us(world.at_us), world.wall_us(), "seed {seed}");
                    let since_us = world.at_us - hold_us(by_us as i64 - 2 * STEP_US).min(world.at_us);
                    let stood = seen.iter().filter(|it| it.0 > since_us);
                    let differs =
                        |it: &&(u64, i64)| it.1.abs_diff(world.offset_us) > 2 * STEP_US.unsigned_abs();
                    assert_eq!(stood.filter(differs).count(), 0, "seed {seed}: {by_us} µs");
                }
                _ => assert!(is_even, "seed {seed}: {advance_us} µs in {elapsed_us} µs"),
            }
            (log_us, at_us) = (world.clock.log_us(world.at_us), world.at_us);
        }
        // Once the wall clock is even, it is followed.
        for _ in 0..3610 {
            world.at_us += SECOND;
            world.clock.look(world.wall_us(), world.at_us);
        }
        assert!(world.clock.ahead_ms(world.wall_us(), world.at_us) >= -1000, "seed {seed}");
    }
}

#[test]
fn times_at_the_ends_of_their_types_are_no_trouble() {
    for last in [0, 1, u64::MAX / 1000, u64::MAX] {
        for wall_us in [0, 1, u64::MAX / 2, u64::MAX] {
            let mut clock = LogClock::start(TimeMs(last), wall_us, 0);
            for at_us in [1, HOUR, 3 * HOUR, u64::MAX / 4, u64::MAX / 2] {
                let before = clock.now(at_us);
                clock.look(u64::MAX - wall_us, at_us);
                clock.look(wall_us, at_us);
                assert!(clock.now(at_us) >= before);
                assert!(clock.believed_in_us(at_us).is_none_or(|us| us <= HOLD_US_MAX));
            }
        }
    }
}
