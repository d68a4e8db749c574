//! One seed: lives of the server one after the other, with load and faults, and what is verified between them.

use super::client::Client;
use super::counters::Counters;
use super::disk::Shortage;
use super::knowledge::{JOBS, Knowledge, ensure};
use super::leases::LEASED;
use super::process::{Process, World};
use super::settings::Settings;
use super::trace::Trace;
use super::value::Value;
use super::wall_clock::WallClock;
use headwater::env::clock::Clock;
use headwater::env::entropy::{Entropy, SeededEntropy};
use headwater::env::manual_clock::ManualClock;
use headwater::env::sim_executor::SimExecutor;
use headwater::env::sim_fs::{Faults, SimFs};
use headwater::model::time::TimeMs;
use std::time::Duration;

pub struct Report {
    pub counters: Counters,
    pub trace: Vec<String>,
}

pub const START_MS: u64 = 1_700_000_000_000;

/// Nothing that was acknowledged so long before a power cut is lost with relaxed durability, beyond its interval: a sync may
/// be slow, and one may be under way before it; a server whose sync has failed takes up to ten seconds to part from
/// clients that do not read.
const SLACK_MS: u64 = 15_000;

pub struct Run {
    pub(super) random: SeededEntropy,
    pub(super) world: World,
    pub(super) settings: Settings,
    pub(super) process: Option<Process>,
    pub(super) clients: Vec<Client>,
    pub(super) connections: u64,
    pub(super) knowledge: Knowledge,
    pub(super) counters: Counters,
    pub(super) trace: Trace,
    pub(super) looks: u64,
    /// Of this life.
    pub(super) faults: Faults,
    /// A sync was told to fail, or a write to find no space: the server may stop.
    pub(super) may_stop: bool,
    pub(super) wall: WallClock,
    pub(super) shortage: Shortage,
}

pub fn run(seed: u64, trace: Trace) -> Result<Report, String> {
    let random = SeededEntropy::new(seed);
    let settings = Settings::draw(&random);
    let clock = ManualClock::new(TimeMs(START_MS));
    let disk = SimFs::new(random.u64()).with_clock(clock.clone()).with_torn_sectors();
    disk.set_sync_time(settings.sync_time());
    let executor = if settings.is_fifo { SimExecutor::new() } else { SimExecutor::seeded(random.u64()) };
    let world = World { executor, clock, disk, settings: settings.clone() };
    trace.note(format!("{settings:?}"));
    let clients = (0..settings.clients).map(Client::new).collect();
    let mut run = Run {
        random,
        world,
        settings,
        process: None,
        clients,
        connections: 0,
        knowledge: Knowledge::default(),
        counters: Counters { seeds: 1, ..Counters::default() },
        trace,
        looks: 0,
        faults: Faults::default(),
        may_stop: false,
        wall: WallClock::default(),
        shortage: Shortage::default(),
    };
    let result = run.lives();
    // Tasks hold what they wait for: the world ends before its clients do.
    if let Some(process) = run.process.take() {
        process.kill(&run.world, false);
    }
    result?;
    run.count_deaths();
    run.counters.simulated_ms = run.world.clock.monotonic_ms();
    let mut lines = run.trace.take();
    lines.extend(run.world.disk.log());
    Ok(Report { counters: run.counters, trace: lines })
}

impl Run {
    pub(super) fn below(&self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    pub(super) fn note(&self, line: String) {
        self.trace.note(format!("{:>12} {line}", self.world.clock.monotonic_us()));
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.world.clock.monotonic_ms()
    }

    fn lives(&mut self) -> Result<(), String> {
        self.start()?;
        self.set_up()?;
        let epochs = self.settings.epochs;
        for epoch in 0..=epochs {
            self.connect_all();
            if self.random.chance(30) {
                self.plan_death();
            }
            let is_ended = self.load()?;
            if epoch == epochs && !is_ended {
                break;
            }
            self.end(is_ended)?;
        }
        self.heal();
        self.rest()?;
        self.verify_liveness()?;
        self.verify(None, false)
    }

    /// Returns whether the power was cut meanwhile.
    fn start(&mut self) -> Result<bool, String> {
        let mut is_power_cut = false;
        for attempt in 0.. {
            let seed = self.random.u64();
            // A start that is cut short: the next one begins from what that one has done.
            let is_cut = attempt < 2 && self.counters.starts > 0 && self.random.chance(15);
            if is_cut {
                let after = 1 + self.below(20);
                let disk = &self.world.disk;
                disk.set_faults(match self.below(3) {
                    0 => Faults { crash_at_operation: Some(disk.operations() + after), ..Faults::default() },
                    1 => Faults { crash_at: Some(self.draw_death()), ..Faults::default() },
                    _ => Faults { full_at_write: Some(disk.writes() + after), ..Faults::default() },
                });
            }
            match Process::start(&self.world, seed) {
                Ok(process) if is_cut => {
                    // The fault would have come later: it is a kill, then.
                    self.note("killed right behind its start".to_owned());
                    process.kill(&self.world, false);
                    self.world.disk.set_faults(Faults::default());
                }
                Ok(process) => {
                    self.note("started".to_owned());
                    self.process = Some(process);
                    self.counters.starts += 1;
                    return Ok(is_power_cut);
                }
                Err(why) if is_cut => {
                    self.note(format!("the start was cut short: {why}"));
                    self.counters.failed_starts += 1;
                    if self.random.chance(50) {
                        is_power_cut = true;
                        self.world.disk.crash();
                    } else {
                        self.world.disk.kill();
                        self.world.disk.set_faults(Faults::default());
                    }
                }
                Err(why) => return Err(format!("the server does not start: {why}")),
            }
        }
        unreachable!("the third start is not cut short")
    }

    fn set_up(&mut self) -> Result<(), String> {
        let mut inspector = self.inspector();
        for (stream, group) in [(JOBS[0], "g"), (JOBS[1], "g"), (LEASED, "g"), (LEASED, "n")] {
            let reply = self.ask(&mut inspector, &format!("XGROUP CREATE {stream} {group} 0 MKSTREAM"))?;
            ensure!(reply == Value::ok(), "XGROUP CREATE: {reply}");
        }
        self.hang_up(inspector);
        if self.settings.is_relaxed {
            // A power cut does not take the groups away.
            let synced = Duration::from_millis(self.settings.interval_ms + SLACK_MS);
            self.world.executor.run_for(&self.world.clock, synced);
        }
        Ok(())
    }

    /// Ends a life and begins the next one. `is_ended`: it has ended by itself.
    pub(super) fn end(&mut self, is_ended: bool) -> Result<(), String> {
        let is_power_cut = self.random.chance(50);
        let mut photograph = None;
        if !is_ended {
            self.look_at_readers()?;
            match self.below(4) {
                0 => {
                    self.note("asked to stop".to_owned());
                    self.process.as_ref().expect("runs").ask_to_stop();
                    let ended = self.wait_for_end();
                    ensure!(ended.is_some(), "the server does not stop");
                    let ended = ended.expect("checked");
                    ensure!(
                        ended.is_ok() || self.may_stop || self.shortage.was_on,
                        "the server did not stop as it should: {ended:?}"
                    );
                    self.counters.stops += u64::from(ended.is_ok());
                }
                1 if !self.settings.is_relaxed || !is_power_cut => {
                    self.heal();
                    self.rest()?;
                    self.disconnect_all();
                    self.settle()?;
                    photograph = Some(self.photograph()?);
                }
                _ => {}
            }
        }
        self.read_all()?;
        let process = self.process.take().expect("runs");
        self.note(if is_power_cut { "the power is cut" } else { "killed" }.to_owned());
        process.kill(&self.world, is_power_cut);
        if is_power_cut {
            self.counters.power_cuts += 1;
        } else {
            self.counters.kills += 1;
            self.counters.kills_after_faults += u64::from(is_ended);
            self.world.disk.set_faults(Faults::default());
        }
        self.faults = Faults::default();
        self.may_stop = false;
        // What had been sent arrives.
        self.read_all()?;
        self.disconnect_all();
        self.world.disk.set_sync_time(self.settings.sync_time());
        self.prepare_wall_clock();
        self.prepare_disk();
        let is_power_cut = self.start()? || is_power_cut;
        let lost_before_ms = (self.settings.is_relaxed && is_power_cut)
            .then(|| self.now_ms().saturating_sub(self.settings.interval_ms + SLACK_MS));
        self.verify(lost_before_ms, true)?;
        if let Some(before) = photograph.filter(|_| lost_before_ms.is_none()) {
            let after = self.photograph()?;
            let differs = differing_line(&before, &after);
            if let Some(at) = differs {
                let around = |text: &str| {
                    text.lines().skip(at.saturating_sub(20)).take(25).collect::<Vec<_>>().join("\n")
                };
                return Err(format!(
                    "what was at rest:\n{}\nis not what came back:\n{}",
                    around(&before),
                    around(&after)
                ));
            }
            ensure!(before.len() == after.len(), "what was at rest is not what came back");
        }
        Ok(())
    }

    fn wait_for_end(&mut self) -> Option<Result<(), String>> {
        for _ in 0..10_000 {
            self.world.executor.run_until_idle();
            if let Some(ended) = self.process.as_ref().expect("runs").has_ended() {
                return Some(ended);
            }
            self.world.clock.advance_to_next_timer()?;
        }
        None
    }

    /// Nothing fails any more.
    pub(super) fn heal(&mut self) {
        self.note("healed".to_owned());
        self.world.disk.set_sync_time(Duration::ZERO);
        self.faults = Faults::default();
        self.world.disk.set_faults(self.faults);
        self.end_shortage();
    }
}

/// What a consumer looked at in vain is not logged more often than this.
const LOOKS_MS: i64 = 1000;

/// The first line that has changed over a restart; of a consumer's seen-time the looks in vain may be missing. An
/// idempotent id may be remembered for a moment longer: reads are judged by a time that is not logged.
fn differing_line(before: &str, after: &str) -> Option<usize> {
    let number = |line: &str| line.rsplit(' ').next().and_then(|word| word.parse::<i64>().ok());
    let (mut is_seen_time, mut is_tracked) = (false, false);
    before.lines().zip(after.lines()).position(|(before, after)| {
        let was_seen_time = std::mem::replace(&mut is_seen_time, before.ends_with("\"seen-time\""));
        let is_near = was_seen_time
            && matches!((number(before), number(after)), (Some(before), Some(after)) if (0..=LOOKS_MS).contains(&(before - after)));
        let was_tracked = std::mem::replace(&mut is_tracked, before.ends_with("s-tracked\""));
        let is_later = was_tracked && number(before) < number(after);
        before != after && !is_near && !is_later
    })
}
