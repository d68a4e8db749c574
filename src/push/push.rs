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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Stage;

    fn interest(push: &Push, classes: &str) -> (bool, bool) {
        let Interest { events, misses } =
            push.refresh_interest(EventClasses::parse(classes).expect("classes"));
        (events, misses)
    }

    #[test]
    fn the_engine_reports_what_somebody_wants() {
        let push = Push::default();
        assert_eq!(interest(&push, ""), (false, false));
        assert_eq!(interest(&push, "K$"), (true, false));
        // An event of a read: that its key is missing, or due.
        assert_eq!((interest(&push, "Km"), interest(&push, "Kx")), ((true, true), (true, true)));
        push.tracking.borrow_mut().enable(1, &Default::default()).expect("plain options");
        assert_eq!(interest(&push, ""), (true, true));
        push.tracking.borrow_mut().disable(1);
        assert_eq!(interest(&push, ""), (false, false));
    }

    #[test]
    fn events_are_kept_for_a_transaction_that_may_begin_to_track() {
        let push = Push::default();
        push.note_tracking_transaction(true);
        push.note_tracking_transaction(true);
        push.note_tracking_transaction(false);
        assert_eq!(interest(&push, ""), (true, true));
        push.note_tracking_transaction(false);
        assert_eq!(interest(&push, ""), (false, false));
    }

    #[test]
    fn nothing_is_registered_for_a_client_that_has_left() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("HELLO 3\nCLIENT TRACKING ON\nGET a\nSUBSCRIBE b\nPSUBSCRIBE c*\nSSUBSCRIBE d\nMONITOR");
        let (push, subscriber) = (&stage.frontend.push, ann.connection.subscriber());
        assert!(push.tracks() && push.monitors.is_any());
        ann.leave();
        assert!(!push.tracks() && !push.monitors.is_any());
        assert_eq!(push.tracking.borrow().totals(), [0; 4]);
        assert_eq!(push.registry.borrow().count_plain(subscriber), 0);
        assert_eq!(stage.client().ask("PUBLISH b x\nPUBLISH c1 x\nSPUBLISH d x"), ":0 :0 :0");
    }
}
