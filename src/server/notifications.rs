//! Keyspace notifications: what ops have done to keys, told to whoever subscribed to `__keyspace@<db>__:<key>` or
//! `__keyevent@<db>__:<event>`.
//!
//! Order: as in the log; of one event the keyspace channel first. A client
//! that listens to itself gets its events behind the reply at hand, those of a transaction behind the whole EXEC (Redis
//! 7.2). Only the node that executes ops for clients tells of them: not a replay, nor a node that follows.

use crate::command::value::{Query, Write, key::KeyWrite};
use crate::model::key_events::EventClasses;
use crate::pubsub::message::Message;
use crate::pubsub::registry::Kind;
use crate::server::connection::Connection;
use crate::server::ticket::Ticket;
use crate::server::worker::Worker;
use crate::state::effects::{Effect, Effects, KeyEvent};
use std::rc::Rc;

impl Worker {
    /// Follows the setting and those who track: both decide whether anybody hears what happens to keys.
    pub fn listen_as_configured(&self) {
        let events = self.config.borrow().notify_keyspace_events;
        self.key_events.set(events);
        self.tracks.set(!self.tracking.borrow().is_off() || self.tracking_transactions.get() > 0);
        self.hears.set(events.is_on() || self.tracks.get());
    }

    /// For an op about to be applied, while somebody hears.
    pub fn heard_effects(&self) -> Effects {
        let events = self.key_events.get();
        let about_reads = self.tracks.get()
            || events.contains(EventClasses::MISS)
            || events.contains(EventClasses::EXPIRED);
        if about_reads { Effects::wanted_with_misses() } else { Effects::wanted() }
    }

    /// Tells of what an op has done. What is for the client that sent it is kept until its reply is written.
    pub fn announce(&self, effects: &[Effect], origin: Option<&Connection>) {
        let mut are_all_invalid = false;
        for effect in effects {
            match effect.event {
                KeyEvent::Due => self.delete_due(effect),
                // One message for all databases.
                KeyEvent::Flush | KeyEvent::Swap if self.tracks.get() && !are_all_invalid => {
                    are_all_invalid = true;
                    self.invalidate_all(origin);
                }
                KeyEvent::Flush | KeyEvent::Swap => {}
                event => {
                    if self.tracks.get() && event.modifies() {
                        self.invalidate(&effect.key, origin);
                    }
                    self.notify(effect, origin);
                }
            }
        }
    }

    /// A client has read from applied state and was answered.
    pub fn hear_read(&self, connection: &Rc<Connection>, database: u32, query: &Query<'_>) {
        if self.tracks.get() && !matches!(query, Query::Refused(_)) {
            self.remember(connection, query.keys());
        }
        let mut effects = self.heard_effects();
        let now = self.now();
        for key in query.keys_read() {
            let partition = self.partition(self.router.of_key(key)).borrow();
            partition.machine().note_miss(database, now, key, &mut effects);
        }
        self.announce(&effects.take(), Some(connection));
        connection.send_deferred();
    }

    /// A read has found a key due: it is deleted now and not by the clock, so that its event follows soon. Not while writes are
    /// paused.
    fn delete_due(&self, effect: &Effect) {
        if self.pause.is_on(self.clock.monotonic_ms()) {
            return;
        }
        let write = Write::Key(KeyWrite::DeleteIfDue { key: &effect.key });
        self.write(self.router.of_key(&effect.key), effect.database, &write, Ticket::Internal);
    }

    fn notify(&self, effect: &Effect, origin: Option<&Connection>) {
        let Some((name, class)) = effect.event.notification() else { return };
        let wanted = self.key_events.get();
        if !wanted.contains(class) {
            return;
        }
        {
            let registry = self.pubsub.borrow();
            if registry.total(Kind::Channel) == 0 && registry.total(Kind::Pattern) == 0 {
                return;
            }
        }
        let mut database = itoa::Buffer::new();
        let database = database.format(effect.database).as_bytes();
        if wanted.contains(EventClasses::KEYSPACE) {
            let channel = [b"__keyspace@", database, b"__:", &effect.key].concat();
            self.send_to_subscribers(origin, &channel, name.as_bytes());
        }
        if wanted.contains(EventClasses::KEYEVENT) {
            let channel = [b"__keyevent@", database, b"__:", name.as_bytes()].concat();
            self.send_to_subscribers(origin, &channel, &effect.key);
        }
    }

    fn send_to_subscribers(&self, origin: Option<&Connection>, channel: &[u8], payload: &[u8]) {
        let registry = self.pubsub.borrow();
        let mut message = Message::new(channel, payload);
        for (subscriber, delivery) in registry.publish(channel) {
            self.send_message(origin, subscriber, delivery, &mut message);
        }
    }
}
