//! CLIENT PAUSE: holds all commands, or only writes, for a time.

use crate::command::spec::{Flags, Row};
use crate::net::connection::{Connection, Hold};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

#[derive(Default)]
pub struct Pause {
    /// Milliseconds of the monotonic clock.
    until_ms: Cell<u64>,
    writes_only: Cell<bool>,
    /// Number of holds of everything, independent of any pause (DEBUG RELOAD).
    suspensions: Cell<u32>,
    held: RefCell<Vec<Rc<Connection>>>,
}

impl Pause {
    /// A current pause is not shortened, and a pause of everything is not reduced to writes (Redis
    /// `pauseActions`).
    pub fn begin(&self, until_ms: u64, now_ms: u64, writes_only: bool) {
        let under_way = now_ms < self.until_ms.get();
        self.writes_only.set(writes_only && (!under_way || self.writes_only.get()));
        self.until_ms.set(if under_way { self.until_ms.get().max(until_ms) } else { until_ms });
    }

    pub fn end(&self) {
        self.until_ms.set(0);
        self.release();
    }

    /// Holds everything until [`Pause::resume`].
    pub fn suspend(&self) {
        self.suspensions.set(self.suspensions.get() + 1);
    }

    /// A current pause continues: connections that still have to wait are held again.
    pub fn resume(&self) {
        self.suspensions.set(self.suspensions.get() - 1);
        self.release();
    }

    fn release(&self) {
        for connection in self.held.take() {
            if connection.activity.hold.get() == Hold::Paused {
                connection.activity.hold.set(Hold::None);
                connection.wake();
            }
        }
    }

    /// Whether a pause was begun and not ended: cheaper than asking whether its time is over.
    pub fn is_begun(&self) -> bool {
        self.until_ms.get() != 0 || self.suspensions.get() > 0
    }

    pub fn is_on(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms.get() || self.suspensions.get() > 0
    }

    pub fn until_ms(&self) -> u64 {
        self.until_ms.get()
    }

    /// Whether a command has to wait. CLIENT never does; otherwise no client could end the pause.
    pub fn holds(&self, row: &Row, now_ms: u64) -> bool {
        let writes_only = self.writes_only.get() && self.suspensions.get() == 0;
        self.is_on(now_ms) && row.container_name() != "client" && (!writes_only || is_write(row))
    }

    /// Connections that wait for the end of the pause.
    pub fn held(&self) -> usize {
        self.held.borrow().len()
    }

    pub fn forget(&self, connection: &Connection) {
        if connection.activity.hold.get() == Hold::Paused {
            self.held.borrow_mut().retain(|held| held.id != connection.id);
        }
    }

    pub fn hold(&self, connection: &Rc<Connection>) {
        connection.activity.hold.set(Hold::Paused);
        self.held.borrow_mut().push(connection.clone());
    }
}

/// Whether a command may change data, for CLIENT PAUSE WRITE.
pub fn is_write(row: &Row) -> bool {
    row.flags.contains(Flags::WRITE) || row.flags.contains(Flags::MAY_REPLICATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::TABLE;

    fn row(name: &str) -> &'static Row {
        TABLE.iter().find(|row| row.name == name).expect("a command")
    }

    #[test]
    fn a_pause_is_never_shortened_nor_softened() {
        let pause = Pause::default();
        pause.begin(100, 0, false);
        pause.begin(50, 10, true);
        assert!(pause.is_on(99) && !pause.is_on(100));
        assert!(pause.holds(row("get"), 20));
        // The next one, when that is over, may be of writes alone.
        pause.begin(200, 150, true);
        assert!(!pause.holds(row("get"), 160) && pause.holds(row("set"), 160));
        pause.begin(300, 160, false);
        assert!(pause.holds(row("get"), 250));
    }

    #[test]
    fn writes_are_what_may_reach_replicas() {
        let pause = Pause::default();
        pause.begin(100, 0, true);
        assert!(pause.holds(row("xadd"), 1) && pause.holds(row("publish"), 1));
        assert!(!pause.holds(row("xrange"), 1) && !pause.holds(row("client"), 1));
        pause.end();
        assert!(!pause.is_begun());
    }

    #[test]
    fn a_suspension_holds_everything_and_a_pause_goes_on_behind_it() {
        let pause = Pause::default();
        pause.begin(100, 0, true);
        pause.suspend();
        pause.suspend();
        assert!(pause.holds(row("get"), 500));
        pause.resume();
        assert!(pause.holds(row("get"), 500));
        pause.resume();
        assert!(!pause.holds(row("get"), 50) && pause.holds(row("set"), 50) && !pause.holds(row("set"), 500));
    }
}
