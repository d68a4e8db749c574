//! Keyspace notifications: the key events of ops, published to `__keyspace@<db>__:<key>` and
//! `__keyevent@<db>__:<event>`.
//!
//! Order: log order; for one event the keyspace channel first. A client that subscribes to its own events
//! gets them behind the reply to the current request, or behind the whole EXEC for a transaction (Redis 7.2).
//! Only the node that executes ops for clients publishes events: neither a replay nor a following node does.

use crate::model::key_events::EventClasses;
use crate::net::connection::Connection;
use crate::net::connections::Connections;
use crate::pubsub::registry::Kind;
use crate::push::push::Push;
use crate::state::effects::{Effect, KeyEvent};

impl Push {
    /// Publishes the events of an op. Messages for the client that sent it wait until its reply is written.
    #[inline]
    pub fn announce(&self, connections: &Connections, events: &[Effect], origin: Option<&Connection>) {
        if !events.is_empty() {
            self.announce_some(connections, events, origin);
        }
    }

    fn announce_some(&self, connections: &Connections, events: &[Effect], origin: Option<&Connection>) {
        let mut are_all_invalid = false;
        for effect in events {
            match effect.event {
                // One message for all databases.
                KeyEvent::Flush | KeyEvent::Swap if self.tracks() && !are_all_invalid => {
                    are_all_invalid = true;
                    self.invalidate_all(connections, origin);
                }
                KeyEvent::Flush | KeyEvent::Swap => {}
                event => {
                    if self.tracks() && event.modifies() {
                        self.invalidate(connections, &effect.key, origin);
                    }
                    self.notify(connections, effect, origin);
                }
            }
        }
    }

    fn notify(&self, connections: &Connections, effect: &Effect, origin: Option<&Connection>) {
        let Some((name, class)) = effect.event.notification() else { return };
        let wanted = self.key_events();
        if !wanted.contains(class) {
            return;
        }
        {
            let registry = self.registry.borrow();
            if registry.total(Kind::Channel) == 0 && registry.total(Kind::Pattern) == 0 {
                return;
            }
        }
        let mut database = itoa::Buffer::new();
        let database = database.format(effect.database).as_bytes();
        if wanted.contains(EventClasses::KEYSPACE) {
            let channel = [b"__keyspace@", database, b"__:", &effect.key].concat();
            self.send_to_subscribers(connections, origin, &channel, name.as_bytes());
        }
        if wanted.contains(EventClasses::KEYEVENT) {
            let channel = [b"__keyevent@", database, b"__:", name.as_bytes()].concat();
            self.send_to_subscribers(connections, origin, &channel, &effect.key);
        }
    }
}
