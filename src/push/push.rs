//! The owner of subscriptions, of tracked keys, and of monitors.

use crate::engine::submission::Interest;
use crate::model::key_events::EventClasses;
use crate::net::connection::Connection;
use crate::pubsub::registry::Registry;
use crate::push::monitor_list::Monitors;
use crate::push::tracking::Tracking;
use std::cell::{Cell, RefCell};

#[derive(Default)]
pub struct Push {
    pub registry: RefCell<Registry>,
    pub tracking: RefCell<Tracking>,
    pub monitors: Monitors,
    /// `notify-keyspace-events`.
    key_events: Cell<EventClasses>,
    /// A client tracks keys, or is about to.
    tracks: Cell<bool>,
    /// Transactions in flight that contain CLIENT TRACKING: their events must be kept for the moment when it
    /// is executed.
    tracking_transactions: Cell<u32>,
}

impl Push {
    /// A client tracks keys, or is about to.
    pub fn tracks(&self) -> bool {
        self.tracks.get()
    }

    pub fn key_events(&self) -> EventClasses {
        self.key_events.get()
    }

    /// A transaction with CLIENT TRACKING begins or has ended.
    pub fn note_tracking_transaction(&self, begins: bool) {
        let count = self.tracking_transactions.get();
        self.tracking_transactions.set(if begins { count + 1 } else { count - 1 });
    }

    /// Applies the setting and the tracking clients; returns the key events that the engine must report from
    /// now on.
    pub fn refresh_interest(&self, key_events: EventClasses) -> Interest {
        self.key_events.set(key_events);
        self.tracks.set(!self.tracking.borrow().is_off() || self.tracking_transactions.get() > 0);
        let tracks = self.tracks.get();
        Interest {
            events: key_events.is_on() || tracks,
            misses: tracks
                || key_events.contains(EventClasses::MISS)
                || key_events.contains(EventClasses::EXPIRED),
        }
    }

    /// Removes every registration of a closed connection.
    pub fn forget(&self, connection: &Connection) {
        if self.tracks() {
            self.tracking.borrow_mut().disable(connection.id.number);
        }
        self.monitors.remove(connection);
        self.registry.borrow_mut().drop_subscriber(connection.subscriber());
    }
}
