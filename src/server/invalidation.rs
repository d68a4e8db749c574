//! CLIENT TRACKING at work: reads are remembered, changes are told.
//!
//! A read is remembered at its place: at once if it is answered from applied state, and behind the writes before it in
//! its pipeline otherwise. So no change is missed: whatever comes later in the log finds the key in the table. Of an op
//! the client that sent it hears behind its reply, others at once; broadcasts follow the round.

use crate::command::value::Query;
use crate::command::value::connection::TrackingOptions;
use crate::model::reply::{Reply, ReplyError};
use crate::resp::writer::{self, Protocol};
use crate::server::connection::Connection;
use crate::server::tracking::{Broadcast, ClientId, Tracker, TrackingMode};
use crate::server::worker::Worker;
use bytes::Bytes;
use std::rc::Rc;

/// The channel of messages to a RESP2 connection that others redirect theirs to.
const CHANNEL: &str = "__redis__:invalidate";

impl Worker {
    /// CLIENT TRACKING ON
    pub fn track(&self, connection: &Connection, options: &TrackingOptions<'_>) -> Result<Reply, ReplyError> {
        self.check_redirection(options)?;
        self.tracking.borrow_mut().enable(connection.id, options)?;
        if !self.connections().contains_key(&connection.id) {
            // It was closed while its EXEC was on its way: nobody would end the tracking.
            self.tracking.borrow_mut().disable(connection.id);
        }
        self.listen_as_configured();
        Ok(Reply::OK)
    }

    /// Whom messages are redirected to is there now; later it may go.
    pub fn check_redirection(&self, options: &TrackingOptions<'_>) -> Result<(), ReplyError> {
        match options.redirect {
            Some(id) if !self.connections().contains_key(&id) => {
                Err(ReplyError::new("ERR The client ID you want redirect to does not exist"))
            }
            _ => Ok(()),
        }
    }

    /// CLIENT TRACKING OFF, RESET, or the connection has gone.
    pub fn stop_tracking(&self, connection: &Connection) {
        if self.tracks.get() {
            self.tracking.borrow_mut().disable(connection.id);
            self.listen_as_configured();
        }
    }

    /// CLIENT TRACKINGINFO
    pub fn tracking_info(&self, connection: &Connection) -> Reply {
        let tracking = self.tracking.borrow();
        let tracker = tracking.tracker(connection.id);
        let mut flags = vec![if tracker.is_some() { "on" } else { "off" }];
        if let Some(tracker) = tracker {
            flags.extend(match (tracker.mode, tracker.caching) {
                (TrackingMode::All, _) => &[][..],
                (TrackingMode::Broadcast, _) => &["bcast"],
                (TrackingMode::OptIn, false) => &["optin"],
                (TrackingMode::OptIn, true) => &["optin", "caching-yes"],
                (TrackingMode::OptOut, false) => &["optout"],
                (TrackingMode::OptOut, true) => &["optout", "caching-no"],
            });
            flags.extend(tracker.no_loop.then_some("noloop"));
            flags.extend(tracker.is_redirect_broken.then_some("broken_redirect"));
        }
        let prefixes = tracker.into_iter().flat_map(|tracker| tracker.prefixes.iter().map(Reply::bulk));
        Reply::Map(vec![
            (Reply::Text("flags"), Reply::Set(flags.into_iter().map(Reply::Text).collect())),
            (Reply::Text("redirect"), Reply::Integer(redirection(tracker))),
            (Reply::Text("prefixes"), Reply::Array(prefixes.collect())),
        ])
    }

    /// Whether what the connection's request at hand reads is remembered.
    pub fn remembers(&self, connection: &Connection) -> bool {
        self.tracks.get() && self.tracking.borrow().remembers(connection.id)
    }

    /// The request at hand reads these keys, in this order.
    pub fn remember<'k>(&self, connection: &Connection, keys: impl Iterator<Item = &'k [u8]>) {
        if self.remembers(connection) {
            self.remember_at_its_place(connection, keys);
        }
    }

    /// A request that was found to be remembered reads these keys now: CLIENT CACHING may say something else by then.
    pub fn remember_at_its_place<'k>(&self, connection: &Connection, keys: impl Iterator<Item = &'k [u8]>) {
        if !self.tracking.borrow().tracks_reads(connection.id) {
            return;
        }
        let keys_max = self.config.borrow().tracking_table_max_keys;
        for key in keys {
            self.tracking.borrow_mut().remember(connection.id, key);
        }
        loop {
            let overdue = self.tracking.borrow().overdue(keys_max);
            let Some(key) = overdue else { return };
            self.tell_readers(&key, None, Some(connection));
        }
    }

    /// The keys of a read that is not answered at once, for [`Worker::remember_at_its_place`].
    pub fn keys_to_remember(&self, connection: &Connection, query: &Query<'_>) -> Option<Vec<Bytes>> {
        self.remembers(connection).then(|| remembered(query))
    }

    /// The key holds something else now.
    pub fn invalidate(&self, key: &Bytes, origin: Option<&Connection>) {
        let by = origin.map(|connection| connection.id);
        self.tell_readers(key, by, origin);
        self.tracking.borrow_mut().note_change(key, by);
    }

    fn tell_readers(&self, key: &[u8], by: Option<ClientId>, origin: Option<&Connection>) {
        let readers = self.tracking.borrow_mut().invalidate(key, by);
        for reader in readers {
            self.send_invalidation(reader, &Reply::Array(vec![Reply::bulk(key)]), origin);
        }
    }

    /// All keys are gone (`trackingInvalidateKeysOnFlush`).
    pub fn invalidate_all(&self, origin: Option<&Connection>) {
        let trackers: Vec<ClientId> = self.tracking.borrow().trackers().collect();
        self.tracking.borrow_mut().forget_all();
        for tracker in trackers {
            self.send_invalidation(tracker, &Reply::Nil, origin);
        }
    }

    /// Tells those who track by prefix what has changed since the last time.
    pub fn send_broadcasts(&self) {
        let broadcasts = self.tracking.borrow_mut().take_broadcasts();
        for Broadcast { clients, changed } in broadcasts {
            let all = Reply::Array(changed.keys().map(Reply::bulk).collect());
            for client in clients {
                let spares_own = self.tracking.borrow().tracker(client).is_some_and(|it| it.no_loop);
                if !spares_own {
                    self.send_invalidation(client, &all, None);
                    continue;
                }
                let of_others = changed.iter().filter(|(_, by)| **by != Some(client));
                let of_others: Vec<Reply> = of_others.map(|(key, _)| Reply::bulk(key)).collect();
                if !of_others.is_empty() {
                    self.send_invalidation(client, &Reply::Array(of_others), None);
                }
            }
        }
    }

    /// Sends a message about these keys to a client that tracks, or to the one that it redirects to (`sendTrackingMessage`).
    /// RESP2 has no place for it but in subscriptions, so a RESP2 client without redirection gets nothing.
    fn send_invalidation(&self, client: ClientId, keys: &Reply, origin: Option<&Connection>) {
        let connections = self.connections();
        let redirect = self.tracking.borrow().tracker(client).and_then(|tracker| tracker.redirect);
        let Some(connection) = connections.get(&client) else { return };
        let frame = |kind, payload: &Reply| Reply::Push(vec![Reply::Text(kind), payload.clone()]);
        let Some(redirect) = redirect else {
            if protocol(connection) == Protocol::Resp3 {
                self.send_frame(connection, &frame("invalidate", keys), origin);
            }
            return;
        };
        let Some(target) = connections.get(&redirect) else {
            self.tracking.borrow_mut().break_redirect(client);
            if protocol(connection) == Protocol::Resp3 {
                let lost = frame("tracking-redir-broken", &Reply::Integer(redirect as i64));
                self.send_frame(connection, &lost, origin);
            }
            return;
        };
        if protocol(target) == Protocol::Resp3 {
            self.send_frame(target, &frame("invalidate", keys), origin);
        } else if target.session.borrow().subscriptions > 0 {
            let parts = vec![Reply::Text("message"), Reply::Text(CHANNEL), keys.clone()];
            self.send_frame(target, &Reply::Push(parts), origin);
        }
    }

    fn send_frame(&self, target: &Rc<Connection>, frame: &Reply, origin: Option<&Connection>) {
        if target.is_closing() {
            return;
        }
        if origin.is_some_and(|origin| origin.id == target.id) {
            let mut bytes = Vec::new();
            writer::write(&mut bytes, protocol(target), frame);
            target.defer_invalidation(&bytes);
            return;
        }
        target.push_reply(frame);
        let subscribed = target.session.borrow().subscriptions > 0;
        if self.is_over_output_limit(target, subscribed) {
            self.cut_off(target);
        }
        self.queue_flush(target);
    }
}

/// What of a query is remembered: every key that it names, whether there is one or not. A refused command read nothing,
/// and WATCH has its own memory.
pub fn remembered(query: &Query<'_>) -> Vec<Bytes> {
    match query {
        Query::Refused(_) => Vec::new(),
        _ => query.keys().map(Bytes::copy_from_slice).collect(),
    }
}

/// As GETREDIR and CLIENT LIST tell it: -1 for one that does not track, 0 for one that gets its own messages.
pub fn redirection(tracker: Option<&Tracker>) -> i64 {
    tracker.map_or(-1, |tracker| tracker.redirect.unwrap_or(0) as i64)
}

fn protocol(connection: &Connection) -> Protocol {
    connection.session.borrow().protocol
}
