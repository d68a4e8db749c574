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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Stage;

    fn events(of: &[(u32, KeyEvent)]) -> Vec<Effect> {
        of.iter()
            .map(|&(database, event)| Effect { database, key: b"k"[..].into(), event, step: 0 })
            .collect()
    }

    /// What a client that listens to everything is told of these events.
    fn told(classes: &str, of: &[(u32, KeyEvent)]) -> String {
        let stage =
            Stage::with(|config| config.notify_keyspace_events = EventClasses::parse(classes).unwrap());
        let ann = stage.client();
        ann.ask("HELLO 3\nPSUBSCRIBE *");
        stage.frontend.push.announce(&stage.frontend.connections, &events(of), None);
        ann.told().replace(">4 $8 pmessage $1 * ", "")
    }

    #[test]
    fn an_event_is_told_by_its_key_first_and_then_by_its_name() {
        let set = [(7, KeyEvent::Set)];
        assert_eq!(told("KE$", &set), "$16 __keyspace@7__:k $3 set $18 __keyevent@7__:set $1 k");
        assert_eq!(told("K$", &set), "$16 __keyspace@7__:k $3 set");
        assert_eq!(told("E$", &set), "$18 __keyevent@7__:set $1 k");
    }

    #[test]
    fn only_classes_that_are_set_are_told() {
        let three = [(0, KeyEvent::Set), (0, KeyEvent::Add), (0, KeyEvent::Claimable)];
        assert_eq!(told("Et", &three), "$19 __keyevent@0__:xadd $1 k");
        assert_eq!(told("$t", &three), "", "neither channel is set");
    }

    #[test]
    fn a_flush_of_several_databases_invalidates_once() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("HELLO 3\nCLIENT TRACKING ON\nGET k");
        let flush = events(&[(0, KeyEvent::Flush), (1, KeyEvent::Flush), (2, KeyEvent::Swap)]);
        stage.frontend.push.announce(&stage.frontend.connections, &flush, None);
        assert_eq!(ann.told(), ">2 $10 invalidate _");
    }

    #[test]
    fn events_that_change_no_value_invalidate_nothing() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("HELLO 3\nCLIENT TRACKING ON\nXLEN k");
        for event in [KeyEvent::GroupCreate, KeyEvent::Miss, KeyEvent::Add] {
            assert_eq!(ann.told(), "", "before {event:?}");
            stage.frontend.push.announce(&stage.frontend.connections, &events(&[(0, event)]), None);
        }
        assert_eq!(ann.told(), ">2 $10 invalidate *1 $1 k");
    }
}
