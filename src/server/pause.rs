//! CLIENT PAUSE: for a while commands, or only writes, are held and then executed.

use crate::command::spec::Row;
use crate::server::connection::{Connection, Hold};
use crate::server::dispatch::is_write;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

#[derive(Default)]
pub struct Pause {
    /// Milliseconds of the worker's clock.
    until_ms: Cell<u64>,
    writes_only: Cell<bool>,
    held: RefCell<Vec<Rc<Connection>>>,
}

/// The pause that [`Pause::suspend`] has put aside.
#[derive(Debug, Clone, Copy)]
pub struct Suspended {
    until_ms: u64,
    writes_only: bool,
}

impl Pause {
    /// A pause at hand is not shortened, and one of everything is not softened (Redis `pauseActions`).
    pub fn begin(&self, until_ms: u64, now_ms: u64, writes_only: bool) {
        let under_way = self.is_on(now_ms);
        self.writes_only.set(writes_only && (!under_way || self.writes_only.get()));
        self.until_ms.set(if under_way { self.until_ms.get().max(until_ms) } else { until_ms });
    }

    pub fn end(&self) {
        self.until_ms.set(0);
        self.release();
    }

    /// Holds everything until [`Pause::resume`] gets back what this returns.
    pub fn suspend(&self) -> Suspended {
        Suspended { until_ms: self.until_ms.replace(u64::MAX), writes_only: self.writes_only.replace(false) }
    }

    /// What was under way before goes on.
    pub fn resume(&self, before: Suspended) {
        self.until_ms.set(before.until_ms);
        self.writes_only.set(before.writes_only);
        // Whoever still has to wait is held again.
        self.release();
    }

    fn release(&self) {
        for connection in self.held.take() {
            if connection.hold.get() == Hold::Paused {
                connection.hold.set(Hold::None);
                connection.wake();
            }
        }
    }

    /// Whether there was a pause that nobody has ended yet: cheaper to ask than whether it is over.
    pub fn is_begun(&self) -> bool {
        self.until_ms.get() != 0
    }

    pub fn is_on(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms.get()
    }

    pub fn until_ms(&self) -> u64 {
        self.until_ms.get()
    }

    /// Whether a command has to wait. CLIENT never does, or nobody could end the pause.
    pub fn holds(&self, row: &Row, now_ms: u64) -> bool {
        self.is_on(now_ms) && row.container_name() != "client" && (!self.writes_only.get() || is_write(row))
    }

    /// Connections that wait for its end.
    pub fn held(&self) -> usize {
        self.held.borrow().len()
    }

    pub fn forget(&self, connection: &Connection) {
        if connection.hold.get() == Hold::Paused {
            self.held.borrow_mut().retain(|held| held.id != connection.id);
        }
    }

    pub fn hold(&self, connection: &Rc<Connection>) {
        connection.hold.set(Hold::Paused);
        self.held.borrow_mut().push(connection.clone());
    }
}
