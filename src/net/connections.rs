//! The connections of a frontend, and those with output to send.

use crate::config::config::OutputLimits;
use crate::context::context::NodeContext;
use crate::model::request::ConnectionId;
use crate::net::connection::Connection;
use crate::observe::metrics::Metrics;
use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

pub struct Connections {
    context: Arc<NodeContext>,
    metrics: Rc<Metrics>,
    by_number: RefCell<BTreeMap<u64, Rc<Connection>>>,
    /// By [`ConnectionId::place`]; outcomes find their connections here.
    places: RefCell<Vec<Option<Rc<Connection>>>>,
    free_places: RefCell<Vec<u32>>,
    next_number: Cell<u64>,
    to_flush: RefCell<Vec<Rc<Connection>>>,
    /// `client-output-buffer-limit`, which is checked with every message. A read of the configuration takes a
    /// lock.
    limits: Cell<OutputLimits>,
    pub flush_due: Notify,
}

impl Connections {
    pub fn new(context: Arc<NodeContext>, metrics: Rc<Metrics>) -> Connections {
        Connections {
            context,
            metrics,
            by_number: RefCell::default(),
            places: RefCell::default(),
            free_places: RefCell::default(),
            next_number: Cell::new(1),
            to_flush: RefCell::default(),
            limits: Cell::default(),
            flush_due: Notify::new(),
        }
    }

    /// The identity of the next connection; call [`Connections::add`] next.
    pub fn next_id(&self) -> ConnectionId {
        let number = self.next_number.replace(self.next_number.get() + 1);
        let place = self.free_places.borrow_mut().pop().unwrap_or_else(|| {
            let mut places = self.places.borrow_mut();
            places.push(None);
            (places.len() - 1) as u32
        });
        ConnectionId { number, place }
    }

    pub fn add(&self, connection: &Rc<Connection>) {
        let before = self.places.borrow_mut()[connection.id.place as usize].replace(connection.clone());
        assert!(before.is_none(), "the place of {:?} is taken", connection.id);
        self.by_number.borrow_mut().insert(connection.id.number, connection.clone());
    }

    /// Returns whether the connection was present.
    pub fn remove(&self, id: ConnectionId) -> bool {
        let was_there = self.by_number.borrow_mut().remove(&id.number).is_some();
        if was_there {
            self.places.borrow_mut()[id.place as usize] = None;
            self.free_places.borrow_mut().push(id.place);
        }
        was_there
    }

    /// The connection, if it still exists.
    pub fn get(&self, id: ConnectionId) -> Option<Rc<Connection>> {
        let places = self.places.borrow();
        places.get(id.place as usize)?.as_ref().filter(|connection| connection.id == id).cloned()
    }

    pub fn contains(&self, id: ConnectionId) -> bool {
        self.by_number.borrow().contains_key(&id.number)
    }

    /// In order of connection numbers.
    pub fn all(&self) -> Ref<'_, BTreeMap<u64, Rc<Connection>>> {
        self.by_number.borrow()
    }

    pub fn by_number(&self, number: u64) -> Option<Rc<Connection>> {
        self.by_number.borrow().get(&number).cloned()
    }

    /// Schedules the connection's output for one send call after the tasks that are ready now.
    pub fn queue_flush(&self, connection: &Rc<Connection>) {
        if !connection.activity.flush_queued.replace(true) {
            let mut queue = self.to_flush.borrow_mut();
            if queue.is_empty() {
                self.flush_due.notify_one();
            }
            queue.push(connection.clone());
        }
    }

    /// Sends the output of all queued connections.
    pub fn flush(&self) {
        let mut queue = self.to_flush.take();
        for connection in queue.drain(..) {
            connection.activity.flush_queued.set(false);
            self.metrics.note_output(connection.flush());
        }
        // Keeps the memory unless other connections were queued meanwhile.
        let mut current = self.to_flush.borrow_mut();
        if current.is_empty() {
            *current = queue;
        }
    }

    /// Applies the settings on hot paths.
    pub fn apply_settings(&self) {
        self.limits.set(self.context.config.borrow().output_limits);
    }

    /// Closes the connection if its unread output exceeds the limit of its class.
    pub fn cut_off_if_over_limit(&self, connection: &Connection, subscribed: bool) -> bool {
        let over = self.note_output_limit(connection, subscribed);
        if over {
            self.cut_off(connection);
        }
        over
    }

    /// Tracks how long the connection has exceeded the soft limit of its class
    /// (`client-output-buffer-limit`). Returns whether that is too long, or the hard limit is exceeded.
    fn note_output_limit(&self, connection: &Connection, subscribed: bool) -> bool {
        let bytes = connection.output_bytes() as u64;
        let limits = self.limits.get();
        let limit = if subscribed { limits.pubsub } else { limits.normal };
        if limit.hard_bytes > 0 && bytes > limit.hard_bytes {
            return true;
        }
        let since = &connection.activity.over_soft_limit_since_ms;
        if limit.soft_bytes == 0 || bytes <= limit.soft_bytes {
            since.set(None);
            return false;
        }
        let now_ms = self.context.clock.monotonic_ms();
        let since_ms = since.get().unwrap_or(now_ms);
        since.set(Some(since_ms));
        now_ms - since_ms > limit.soft_seconds.saturating_mul(1000)
    }

    /// Closes a client that does not read its output (`client-output-buffer-limit`).
    pub fn cut_off(&self, connection: &Connection) {
        if connection.close_for_output() {
            self.metrics.client_output_buffer_disconnections.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::config::OutputLimit;
    use crate::node::testing::Stage;

    #[test]
    fn a_place_is_used_again_and_the_old_id_finds_nobody() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        let old = ann.connection.id;
        ann.leave();
        let cid = stage.client();
        let connections = &stage.frontend.connections;
        assert_eq!(cid.connection.id.place, old.place);
        assert!(connections.get(old).is_none() && !connections.contains(old) && !connections.remove(old));
        assert!(connections.get(cid.connection.id).is_some() && connections.get(bob.connection.id).is_some());
    }

    #[test]
    fn a_soft_limit_may_be_exceeded_for_a_time_and_a_hard_one_never() {
        let limit = OutputLimit { hard_bytes: 1000, soft_bytes: 100, soft_seconds: 2 };
        let stage = Stage::with(|config| config.output_limits.pubsub = limit);
        let ann = stage.client();
        let is_cut_off = || stage.frontend.connections.cut_off_if_over_limit(&ann.connection, true);
        ann.connection.push(&[b'x'; 200]);
        assert!(!is_cut_off());
        stage.clock.advance(2000);
        assert!(!is_cut_off());
        // Below the limit for a moment: the time begins anew.
        ann.connection.flush();
        assert!(!is_cut_off());
        ann.connection.push(&[b'x'; 200]);
        stage.clock.advance(1);
        assert!(!is_cut_off());
        stage.clock.advance(2001);
        assert!(is_cut_off());
        let bob = stage.client();
        bob.connection.push(&[b'x'; 1001]);
        assert!(stage.frontend.connections.cut_off_if_over_limit(&bob.connection, true));
        assert!(!stage.frontend.connections.cut_off_if_over_limit(&bob.connection, false), "other limits");
        assert_eq!(stage.frontend.metrics.client_output_buffer_disconnections.get(), 2);
    }

    #[test]
    fn queued_output_is_sent_by_the_next_flush() {
        let stage = Stage::new();
        let ann = stage.client();
        for message in [&b"+a\r\n"[..], b"+b\r\n"] {
            ann.connection.push(message);
            stage.frontend.connections.queue_flush(&ann.connection);
        }
        assert_eq!(ann.connection.output_bytes(), 8);
        stage.frontend.connections.flush();
        assert_eq!(ann.connection.output_bytes(), 0);
        assert_eq!(ann.told(), "+a +b");
    }
}
