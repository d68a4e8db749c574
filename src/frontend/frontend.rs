//! The frontend: the owners that it holds, and the operations across all of them.

use crate::context::context::NodeContext;
use crate::engine::port::Port;
use crate::engine::submission::{Ending, Notice};
use crate::frontend::memory_limit::MemoryLimit;
use crate::frontend::pause::Pause;
use crate::frontend::slow_commands::SlowCommands;
use crate::model::time::TimeMs;
use crate::net::connection::{Connection, Hold};
use crate::net::connections::Connections;
use crate::net::tls::config::Offer;
use crate::observe::metrics::Metrics;
use crate::observe::stopwatch::Stopwatch;
use crate::partition::router::Router;
use crate::push::push::Push;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

pub struct Frontend {
    pub context: Arc<NodeContext>,
    /// The way to the engine.
    pub port: Port,
    pub router: Router,
    pub connections: Connections,
    pub push: Push,
    pub pause: Pause,
    pub metrics: Rc<Metrics>,
    pub stopwatch: Stopwatch,
    pub slow: SlowCommands,
    pub memory: MemoryLimit,
    /// The configuration of new TLS connections; `None` without a TLS port.
    pub tls: RefCell<Option<Offer>>,
    /// DEBUG PAUSE-CRON.
    pub cron_paused: Cell<bool>,
    /// Connections that wait until fewer bytes are in flight.
    waiting_for_room: RefCell<Vec<Rc<Connection>>>,
}

impl Frontend {
    pub fn new(context: Arc<NodeContext>, port: Port, tls: Option<Offer>) -> Frontend {
        let metrics = Rc::<Metrics>::default();
        let partitions = context.config.borrow().partitions;
        let frontend = Frontend {
            port,
            router: Router::new(partitions),
            connections: Connections::new(context.clone(), metrics.clone()),
            push: Push::default(),
            pause: Pause::default(),
            metrics,
            stopwatch: Stopwatch::new(context.clock.clone()),
            slow: SlowCommands::default(),
            memory: MemoryLimit::default(),
            tls: RefCell::new(tls),
            cron_paused: Cell::new(false),
            waiting_for_room: RefCell::default(),
            context,
        };
        frontend.apply_settings();
        frontend
    }

    pub fn wall_time(&self) -> TimeMs {
        self.context.wall_time()
    }

    pub fn monotonic_ms(&self) -> u64 {
        self.context.clock.monotonic_ms()
    }

    /// Number of databases that SELECT accepts.
    pub fn databases(&self) -> u32 {
        self.context.config.borrow().databases
    }

    /// Applies the settings on hot paths, and passes the engine's settings to it. Call after every change of
    /// settings.
    pub fn apply_settings(&self) {
        self.apply_statistics_settings();
        let maxmemory = self.context.config.borrow().maxmemory;
        self.memory.set(maxmemory, self.context.identity.memory_bytes);
        self.connections.apply_settings();
        self.refresh_interest();
        self.port.notice(Notice::StreamSettings);
    }

    /// Tells the engine which key events are wanted: by `notify-keyspace-events` and by tracking clients.
    pub fn refresh_interest(&self) {
        let key_events = self.context.config.borrow().notify_keyspace_events;
        self.port.notice(Notice::Interest(self.push.refresh_interest(key_events)));
    }

    /// CLIENT PAUSE has begun or ended: the engine deletes no due keys while writes are paused.
    pub fn tell_pause(&self) {
        self.port.notice(Notice::Paused(self.pause.is_on(self.monotonic_ms())));
    }

    /// The engine has come: tells it everything that it could not hear before.
    pub fn tell_everything(&self) {
        self.apply_settings();
        self.tell_pause();
        self.port.notice(Notice::UpkeepPaused(self.cron_paused.get()));
    }

    /// Work in flight of the connection continues; nothing may stay registered for the connection.
    pub fn remove_connection(&self, connection: &Rc<Connection>) {
        if !self.connections.remove(connection.id) {
            return;
        }
        self.pause.forget(connection);
        let tracked = self.push.tracks();
        self.push.forget(connection);
        if tracked {
            self.refresh_interest();
        }
        self.end_wait(connection, Ending::Disconnected);
    }

    /// Ends the blocked read of this connection without entries, unless it is in flight and finds some.
    /// Returns whether it was blocked, and was not asked before.
    pub fn end_wait(&self, connection: &Connection, ending: Ending) -> bool {
        let mut blocked = connection.blocked.borrow_mut();
        let Some(blocked) = blocked.as_mut().filter(|blocked| !blocked.is_ending) else { return false };
        blocked.is_ending = true;
        self.port.notice(Notice::EndWait { request: blocked.request, ending });
        true
    }

    /// Closes a client; the caller itself only after its reply. Later commands no longer see it.
    pub fn kill(&self, by: &Connection, client: &Rc<Connection>) {
        if by.id == client.id {
            client.close_after_replies();
        } else {
            client.close_now();
            self.remove_connection(client);
        }
    }

    /// Remembers the keys of a read, in its order.
    pub fn remember<'k>(&self, connection: &Connection, keys: impl Iterator<Item = &'k [u8]>) {
        if self.push.tracks() {
            let keys_max = self.context.config.borrow().tracking_table_max_keys;
            self.push.remember(&self.connections, keys_max, connection, keys);
        }
    }

    /// The same for a read that was marked as remembered when it arrived: CLIENT CACHING may have changed
    /// since.
    pub fn remember_at_its_place<'k>(&self, connection: &Connection, keys: impl Iterator<Item = &'k [u8]>) {
        if self.push.tracks() {
            let keys_max = self.context.config.borrow().tracking_table_max_keys;
            self.push.remember_at_its_place(&self.connections, keys_max, connection, keys);
        }
    }

    /// Whether requests may be executed: the bytes in flight of all clients are below their limit.
    pub fn has_room(&self) -> bool {
        self.port.has_room()
    }

    /// Takes in what the data will grow by, for `maxmemory`: asked before requests are executed.
    pub fn note_growth(&self) {
        self.memory.set_growth(self.port.growth());
    }

    pub fn hold_until_room(&self, connection: &Rc<Connection>) {
        connection.activity.hold.set(Hold::UntilRoom);
        self.waiting_for_room.borrow_mut().push(connection.clone());
    }

    /// Outcomes have arrived, so there may be room again.
    pub fn release_if_room(&self) {
        if self.waiting_for_room.borrow().is_empty() || !self.has_room() {
            return;
        }
        for connection in self.waiting_for_room.take() {
            if connection.activity.hold.get() == Hold::UntilRoom {
                connection.activity.hold.set(Hold::None);
                connection.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::limits::IN_FLIGHT_BYTES_MAX;
    use crate::node::testing::Stage;

    #[test]
    fn nothing_waits_for_a_client_that_was_removed() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("XREAD BLOCK 0 STREAMS s $");
        bob.ask("CLIENT PAUSE 100000");
        let cid = stage.client();
        cid.ask("PING");
        assert_eq!(stage.frontend.pause.held(), 1);
        for client in [&ann, &cid] {
            stage.frontend.remove_connection(&client.connection);
            stage.frontend.remove_connection(&client.connection);
        }
        assert_eq!(stage.frontend.pause.held(), 0);
        bob.ask("CLIENT UNPAUSE");
        assert!(bob.ask("INFO clients").contains("blocked_clients:0"));
    }

    #[test]
    fn a_client_that_kills_itself_is_answered_and_others_are_gone_at_once() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        stage.frontend.kill(&ann.connection, &bob.connection);
        assert!(!stage.frontend.connections.contains(bob.connection.id));
        ann.send("SET a 1");
        stage.frontend.kill(&ann.connection, &ann.connection);
        stage.commit();
        assert_eq!(ann.told(), "+OK");
        assert!(ann.is_closed());
    }

    #[test]
    fn clients_that_wait_for_room_stay_while_there_is_none() {
        let stage = Stage::new();
        let ann = stage.client();
        stage.fill(IN_FLIGHT_BYTES_MAX);
        ann.send("PING");
        stage.frontend.release_if_room();
        assert_eq!(ann.told(), "");
        // A client that leaves meanwhile is not woken for nothing.
        let bob = stage.client();
        bob.send("PING");
        bob.leave();
        stage.commit();
        assert_eq!(ann.told(), "+PONG");
    }

    #[test]
    fn the_engine_hears_of_a_pause() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("SET a 1 PX 100\nCLIENT PAUSE 10000 WRITE");
        stage.pass_ms(500);
        stage.commit();
        // Due, and for a client it is gone; but nothing is deleted.
        assert_eq!(bob.ask("GET a\nDBSIZE"), "$-1 :1");
        ann.ask("CLIENT UNPAUSE");
        stage.pass_ms(500);
        stage.commit();
        assert_eq!(bob.ask("DBSIZE"), ":0");
    }
}
