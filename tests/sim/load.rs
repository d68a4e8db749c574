//! What happens in a life, step by step: commands, network, tasks, time and faults.

use super::knowledge::ensure;
use super::run::Run;
use headwater::env::sim_fs::SyncScript;
use std::time::Duration;

impl Run {
    /// Returns whether the server has ended by itself.
    pub(super) fn load(&mut self) -> Result<bool, String> {
        for _ in 0..self.settings.steps {
            self.step()?;
            if let Some(ended) = self.process.as_ref().expect("runs").has_ended() {
                self.note(format!("the server has ended: {ended:?}"));
                ensure!(self.may_stop, "the server ended by itself: {ended:?}");
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn step(&mut self) -> Result<(), String> {
        self.end_glitch_in_time();
        let at = self.below(self.clients.len() as u64) as usize;
        match self.below(100) {
            0..30 => {
                if !self.clients[at].is_connected() {
                    self.connect(at);
                }
                let room = self.settings.pipeline as usize;
                while self.clients[at].waiting.len() < room && !self.clients[at].is_subscriber {
                    self.compose(at);
                    if self.random.chance(30) {
                        break;
                    }
                }
                let most = if self.random.chance(80) { usize::MAX } else { self.below(40) as usize };
                self.clients[at].flush(most);
            }
            30..40 => {
                self.clients[at].flush(usize::MAX);
            }
            40..50 => {
                self.read(at)?;
            }
            50..65 => {
                for _ in 0..=self.below(20) {
                    self.world.executor.turn();
                }
            }
            65..72 => {
                self.world.executor.run_until_idle();
            }
            72..82 => {
                self.world.clock.advance_to_next_timer();
            }
            82..86 if self.settings.is_crowded => self.look_at_readers()?,
            82..86 => {
                self.world.clock.advance(self.below(50));
            }
            86..92 => self.settle()?,
            92 => self.look_at_readers()?,
            93..95 => {
                let is_connected = self.clients[at].is_connected();
                if is_connected {
                    self.disconnect(at);
                    self.counters.disconnects += 1;
                }
            }
            95 if self.settings.steps_clock => self.step_wall_clock(),
            96 => self.change_space(),
            97 => {
                let takes = Duration::from_millis(1 + self.below(3000));
                let nth = self.world.disk.syncs() + 1 + self.below(3);
                self.note(format!("sync {nth} will take {takes:?}"));
                self.world.disk.script_sync(nth, SyncScript { takes, fails: false });
                self.counters.slow_syncs += 1;
            }
            98.. if self.world.disk.has_died() => {}
            98 if self.random.chance(20) => {
                let nth = self.world.disk.syncs() + 1 + self.below(3);
                self.note(format!("sync {nth} will fail"));
                self.faults.fail_sync = Some(nth);
                self.world.disk.set_faults(self.faults);
                self.may_stop = true;
                self.counters.failed_syncs += 1;
            }
            99 if self.random.chance(15) => {
                let nth = self.world.disk.writes() + 1 + self.below(10);
                self.note(format!("write {nth} will find the disk full"));
                self.faults.full_at_write = Some(nth);
                self.world.disk.set_faults(self.faults);
                self.shortage.was_on = true;
                self.counters.full_disks += 1;
            }
            _ => {}
        }
        Ok(())
    }
}
