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
use crate::state::effects::{EventKind, KeyEvent};

impl Push {
    /// Publishes the events of an op. Messages for the client that sent it wait until its reply is written.
    #[inline]
    pub fn announce(&self, connections: &Connections, events: &[KeyEvent], origin: Option<&Connection>) {
        if !events.is_empty() {
            self.announce_some(connections, events, origin);
        }
    }

    fn announce_some(&self, connections: &Connections, events: &[KeyEvent], origin: Option<&Connection>) {
        let mut are_all_invalid = false;
        for event in events {
            match event.kind {
                // One message for all databases.
                EventKind::Flush | EventKind::Swap if self.tracks() && !are_all_invalid => {
                    are_all_invalid = true;
                    self.invalidate_all(connections, origin);
                }
                EventKind::Flush | EventKind::Swap => {}
                kind => {
                    if self.tracks() && kind.modifies() {
                        self.invalidate(connections, &event.key, origin);
                    }
                    self.notify(connections, event, origin);
                }
            }
        }
    }

    fn notify(&self, connections: &Connections, event: &KeyEvent, origin: Option<&Connection>) {
        let Some((name, class)) = event.kind.notification() else { return };
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
        let database = database.format(event.database).as_bytes();
        if wanted.contains(EventClasses::KEYSPACE) {
            let channel = [b"__keyspace@", database, b"__:", &event.key].concat();
            self.send_to_subscribers(connections, origin, &channel, name.as_bytes());
        }
        if wanted.contains(EventClasses::KEYEVENT) {
            let channel = [b"__keyevent@", database, b"__:", name.as_bytes()].concat();
            self.send_to_subscribers(connections, origin, &channel, &event.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Stage;

    fn events(of: &[(u32, EventKind)]) -> Vec<KeyEvent> {
        of.iter()
            .map(|&(database, kind)| KeyEvent { database, key: b"k"[..].into(), kind, step: 0 })
            .collect()
    }

    /// What a client that listens to everything is told of these events.
    fn told(classes: &str, of: &[(u32, EventKind)]) -> String {
        let stage =
            Stage::with(|config| config.notify_keyspace_events = EventClasses::parse(classes).unwrap());
        let ann = stage.client();
        ann.ask("HELLO 3\nPSUBSCRIBE *");
        stage.frontend.push.announce(&stage.frontend.connections, &events(of), None);
        ann.told().replace(">4 $8 pmessage $1 * ", "")
    }

    #[test]
    fn an_event_is_told_by_its_key_first_and_then_by_its_name() {
        let set = [(7, EventKind::Set)];
        assert_eq!(told("KE$", &set), "$16 __keyspace@7__:k $3 set $18 __keyevent@7__:set $1 k");
        assert_eq!(told("K$", &set), "$16 __keyspace@7__:k $3 set");
        assert_eq!(told("E$", &set), "$18 __keyevent@7__:set $1 k");
    }

    #[test]
    fn only_classes_that_are_set_are_told() {
        let three = [(0, EventKind::Set), (0, EventKind::Add), (0, EventKind::Claimable)];
        assert_eq!(told("Et", &three), "$19 __keyevent@0__:xadd $1 k");
        assert_eq!(told("$t", &three), "", "neither channel is set");
    }

    #[test]
    fn a_flush_of_several_databases_invalidates_once() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("HELLO 3\nCLIENT TRACKING ON\nGET k");
        let flush = events(&[(0, EventKind::Flush), (1, EventKind::Flush), (2, EventKind::Swap)]);
        stage.frontend.push.announce(&stage.frontend.connections, &flush, None);
        assert_eq!(ann.told(), ">2 $10 invalidate _");
    }

    #[test]
    fn events_that_change_no_value_invalidate_nothing() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("HELLO 3\nCLIENT TRACKING ON\nXLEN k");
        for event in [EventKind::GroupCreate, EventKind::Miss, EventKind::Add] {
            assert_eq!(ann.told(), "", "before {event:?}");
            stage.frontend.push.announce(&stage.frontend.connections, &events(&[(0, event)]), None);
        }
        assert_eq!(ann.told(), ">2 $10 invalidate *1 $1 k");
    }
}
