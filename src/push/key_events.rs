//! Keyspace notifications: what ops have done to keys, told to whoever subscribed to
//! `__keyspace@<db>__:<key>` or `__keyevent@<db>__:<event>`.
//!
//! Order: as in the log; of one event the keyspace channel first. A client that listens to itself gets its
//! events behind the reply at hand, those of a transaction behind the whole EXEC (Redis 7.2). Only the node
//! that executes ops for clients tells of them: not a replay, nor a node that follows.

use crate::model::key_events::EventClasses;
use crate::net::connection::Connection;
use crate::net::connections::Connections;
use crate::pubsub::registry::Kind;
use crate::push::push::Push;
use crate::state::effects::{Effect, KeyEvent};

impl Push {
    /// Tells of what an op has done. What is for the client that sent it is kept until its reply is written.
    pub fn announce(&self, connections: &Connections, events: &[Effect], origin: Option<&Connection>) {
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
