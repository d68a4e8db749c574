//! The connections that monitor.

use crate::net::connection::Connection;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The connections that monitor.
#[derive(Default)]
pub struct Monitors {
    connections: RefCell<Vec<Rc<Connection>>>,
    /// The one thing that is looked at with every request.
    any: Cell<bool>,
}

impl Monitors {
    /// All monitors.
    pub fn all(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().clone()
    }

    #[inline]
    pub fn is_any(&self) -> bool {
        self.any.get()
    }

    pub fn len(&self) -> usize {
        self.connections.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        !self.is_any()
    }

    pub fn add(&self, connection: &Rc<Connection>) {
        self.connections.borrow_mut().push(connection.clone());
        self.any.set(true);
    }

    /// Does nothing if it does not monitor.
    pub fn remove(&self, connection: &Connection) {
        if self.is_any() {
            let mut connections = self.connections.borrow_mut();
            connections.retain(|known| known.id != connection.id);
            self.any.set(!connections.is_empty());
        }
    }
}
