//! What happens to the disk: a process dies at an operation of its choice, and space runs out and comes back.

use super::run::Run;
use super::settings::DISK_RESERVE;
use headwater::env::sim_fs::{Death, Operation};

const OPERATIONS: [Operation; 4] =
    [Operation::Rename, Operation::Remove, Operation::Sync, Operation::SyncDirectory];

/// The state of the disk in a life.
#[derive(Default)]
pub struct Shortage {
    /// Space is short now.
    is_on: bool,
    /// It was in this life: requests may have been refused, and a stop may find no space.
    pub was_on: bool,
}

impl Run {
    /// A death soon, before or behind a rename, a removal or a sync.
    pub(super) fn draw_death(&self) -> Death {
        let operation = OPERATIONS[self.below(4) as usize];
        let soon = match operation {
            Operation::Sync => self.below(40),
            _ => self.below(4),
        };
        let nth = self.world.disk.operations_of(operation) + 1 + soon;
        Death { operation, nth, is_done: self.random.chance(50) }
    }

    /// The process of this life is to die so.
    pub(super) fn plan_death(&mut self) {
        let death = self.draw_death();
        self.note(format!("will die at {death:?}"));
        self.faults.crash_at = Some(death);
        self.world.disk.set_faults(self.faults);
        self.may_stop = true;
    }

    /// Space runs short, or there is enough again.
    pub(super) fn change_space(&mut self) {
        if self.shortage.is_on {
            return self.end_shortage();
        }
        let left = self.below(DISK_RESERVE * 3 / 2);
        self.note(format!("{left} bytes of disk are left"));
        self.world.disk.set_capacity(Some(self.world.disk.used_bytes() + left));
        self.shortage = Shortage { is_on: true, was_on: true };
        self.counters.shortages += 1;
    }

    pub(super) fn end_shortage(&mut self) {
        if std::mem::take(&mut self.shortage.is_on) {
            self.note("there is space again".to_owned());
            self.world.disk.set_capacity(None);
        }
    }

    /// A life is over. The next one may begin on a full disk.
    pub(super) fn prepare_disk(&mut self) {
        if self.random.chance(50) {
            self.end_shortage();
        }
        self.shortage.was_on = self.shortage.is_on;
        self.counters.short_starts += u64::from(self.shortage.is_on);
    }

    pub(super) fn count_deaths(&mut self) {
        let at = |operation| self.world.disk.deaths_at(operation);
        self.counters.deaths_at_renames = at(Operation::Rename);
        self.counters.deaths_at_removals = at(Operation::Remove);
        self.counters.deaths_at_syncs = at(Operation::Sync);
        self.counters.deaths_at_directory_syncs = at(Operation::SyncDirectory);
    }
}
