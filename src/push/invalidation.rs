//! CLIENT TRACKING at work: remembers reads and sends invalidations.
//!
//! A read is remembered in its order: at once if it is answered from applied state, otherwise behind the
//! earlier writes of its pipeline. So no change is missed: every later op in the log finds the key in the
//! table. The client that sent an op gets its invalidation behind its reply, other clients at once;
//! broadcasts follow the round.

use crate::command::value::Query;
use crate::command::value::connection::TrackingOptions;
use crate::model::reply::{Reply, ReplyError};
use crate::net::connection::Connection;
use crate::net::connections::Connections;
use crate::push::push::Push;
use crate::push::tracking::{Broadcast, ClientId, Tracker, TrackingMode};
use crate::resp::writer::{self, Protocol};
use bytes::Bytes;
use std::rc::Rc;

/// The channel of invalidations on a RESP2 connection that is the target of REDIRECT.
const CHANNEL: &str = "__redis__:invalidate";

impl Push {
    /// CLIENT TRACKING ON; call [`Push::refresh_interest`] next.
    pub fn track(
        &self,
        connections: &Connections,
        connection: &Connection,
        options: &TrackingOptions<'_>,
    ) -> Result<Reply, ReplyError> {
        self.check_redirection(connections, options)?;
        self.tracking.borrow_mut().enable(connection.id.number, options)?;
        if !connections.contains(connection.id) {
            // The connection was closed while its EXEC was in flight, so no later event would end the
            // tracking.
            self.tracking.borrow_mut().disable(connection.id.number);
        }
        Ok(Reply::OK)
    }

    /// Checks that the target of REDIRECT exists; it may disconnect later.
    pub fn check_redirection(
        &self,
        connections: &Connections,
        options: &TrackingOptions<'_>,
    ) -> Result<(), ReplyError> {
        match options.redirect {
            Some(id) if !connections.all().contains_key(&id) => {
                Err(ReplyError::new("ERR The client ID you want redirect to does not exist"))
            }
            _ => Ok(()),
        }
    }

    /// CLIENT TRACKINGINFO.
    pub fn tracking_info(&self, connection: &Connection) -> Reply {
        let tracking = self.tracking.borrow();
        let tracker = tracking.tracker(connection.id.number);
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

    /// Whether the keys that the current request reads are remembered.
    pub fn remembers(&self, connection: &Connection) -> bool {
        self.tracks() && self.tracking.borrow().remembers(connection.id.number)
    }

    /// The current request reads these keys, in this order.
    pub fn remember<'k>(
        &self,
        connections: &Connections,
        keys_max: u64,
        connection: &Connection,
        keys: impl Iterator<Item = &'k [u8]>,
    ) {
        if self.remembers(connection) {
            self.remember_at_its_place(connections, keys_max, connection, keys);
        }
    }

    /// A request whose keys are to be remembered reads them now: CLIENT CACHING may have changed since it
    /// arrived. `keys_max`: `tracking-table-max-keys`.
    pub fn remember_at_its_place<'k>(
        &self,
        connections: &Connections,
        keys_max: u64,
        connection: &Connection,
        keys: impl Iterator<Item = &'k [u8]>,
    ) {
        if !self.tracking.borrow().tracks_reads(connection.id.number) {
            return;
        }
        for key in keys {
            self.tracking.borrow_mut().remember(connection.id.number, key);
        }
        loop {
            let overdue = self.tracking.borrow().overdue(keys_max);
            let Some(key) = overdue else { return };
            self.tell_readers(connections, &key, None, Some(connection));
        }
    }

    /// The keys of a read that is not answered at once, for [`Push::remember_at_its_place`].
    pub fn keys_to_remember(&self, connection: &Connection, query: &Query<'_>) -> Option<Vec<Bytes>> {
        self.remembers(connection).then(|| remembered(query))
    }

    /// The value of the key has changed.
    pub fn invalidate(&self, connections: &Connections, key: &Bytes, origin: Option<&Connection>) {
        let by = origin.map(|connection| connection.id.number);
        self.tell_readers(connections, key, by, origin);
        self.tracking.borrow_mut().note_change(key, by);
    }

    fn tell_readers(
        &self,
        connections: &Connections,
        key: &[u8],
        by: Option<ClientId>,
        origin: Option<&Connection>,
    ) {
        let readers = self.tracking.borrow_mut().invalidate(key, by);
        for reader in readers {
            self.send_invalidation(connections, reader, &Reply::Array(vec![Reply::bulk(key)]), origin);
        }
    }

    /// All keys are deleted (`trackingInvalidateKeysOnFlush`).
    pub fn invalidate_all(&self, connections: &Connections, origin: Option<&Connection>) {
        let trackers: Vec<ClientId> = self.tracking.borrow().trackers().collect();
        self.tracking.borrow_mut().forget_all();
        for tracker in trackers {
            self.send_invalidation(connections, tracker, &Reply::Nil, origin);
        }
    }

    /// Sends the changes since the last call to clients that track by prefix.
    pub fn send_broadcasts(&self, connections: &Connections) {
        let broadcasts = self.tracking.borrow_mut().take_broadcasts();
        for Broadcast { clients, changed } in broadcasts {
            let all = Reply::Array(changed.keys().map(Reply::bulk).collect());
            for client in clients {
                let spares_own = self.tracking.borrow().tracker(client).is_some_and(|it| it.no_loop);
                if !spares_own {
                    self.send_invalidation(connections, client, &all, None);
                    continue;
                }
                let of_others = changed.iter().filter(|(_, by)| **by != Some(client));
                let of_others: Vec<Reply> = of_others.map(|(key, _)| Reply::bulk(key)).collect();
                if !of_others.is_empty() {
                    self.send_invalidation(connections, client, &Reply::Array(of_others), None);
                }
            }
        }
    }

    /// Sends an invalidation of these keys to a tracking client, or to the target of its REDIRECT
    /// (`sendTrackingMessage`). RESP2 can carry it only as a subscription message, so a RESP2 client without
    /// redirection gets nothing.
    fn send_invalidation(
        &self,
        connections: &Connections,
        client: ClientId,
        keys: &Reply,
        origin: Option<&Connection>,
    ) {
        let all = connections.all();
        let redirect = self.tracking.borrow().tracker(client).and_then(|tracker| tracker.redirect);
        let Some(connection) = all.get(&client) else { return };
        let frame = |kind, payload: &Reply| Reply::Push(vec![Reply::Text(kind), payload.clone()]);
        let Some(redirect) = redirect else {
            if protocol(connection) == Protocol::Resp3 {
                send_frame(connections, connection, &frame("invalidate", keys), origin);
            }
            return;
        };
        let Some(target) = all.get(&redirect) else {
            self.tracking.borrow_mut().break_redirect(client);
            if protocol(connection) == Protocol::Resp3 {
                let lost = frame("tracking-redir-broken", &Reply::Integer(redirect as i64));
                send_frame(connections, connection, &lost, origin);
            }
            return;
        };
        if protocol(target) == Protocol::Resp3 {
            send_frame(connections, target, &frame("invalidate", keys), origin);
        } else if target.session.borrow().subscriptions > 0 {
            let parts = vec![Reply::Text("message"), Reply::Text(CHANNEL), keys.clone()];
            send_frame(connections, target, &Reply::Push(parts), origin);
        }
    }
}

fn send_frame(
    connections: &Connections,
    target: &Rc<Connection>,
    frame: &Reply,
    origin: Option<&Connection>,
) {
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
    connections.cut_off_if_over_limit(target, subscribed);
    connections.queue_flush(target);
}

/// The keys of a query that are remembered: every key that it names, existing or not. A refused command has
/// read nothing, and WATCH remembers its keys itself.
pub fn remembered(query: &Query<'_>) -> Vec<Bytes> {
    match query {
        Query::Refused(_) => Vec::new(),
        _ => query.keys().map(Bytes::copy_from_slice).collect(),
    }
}

/// In the form of GETREDIR and CLIENT LIST: -1 for a client that does not track, 0 for one that receives its
/// own invalidations.
pub fn redirection(tracker: Option<&Tracker>) -> i64 {
    tracker.map_or(-1, |tracker| tracker.redirect.unwrap_or(0) as i64)
}

fn protocol(connection: &Connection) -> Protocol {
    connection.session.borrow().protocol
}

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    #[test]
    fn others_are_told_at_once_and_the_writer_behind_its_reply() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        for client in [&ann, &bob] {
            client.ask("HELLO 3\nCLIENT TRACKING ON\nGET a");
        }
        assert_eq!(ann.ask("SET a 1"), "+OK >2 $10 invalidate *1 $1 a");
        assert_eq!(bob.told(), ">2 $10 invalidate *1 $1 a");
        assert_eq!(ann.ask("SET a 2"), "+OK", "a key is told once until it is read again");
    }

    #[test]
    fn a_resp2_client_is_told_through_another_that_subscribes() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        let id = bob.connection.id.number;
        ann.ask(&format!("CLIENT TRACKING ON REDIRECT {id}\nGET a"));
        assert_eq!(ann.ask("SET a 1"), "+OK");
        assert_eq!(bob.told(), "", "it does not subscribe");
        bob.ask("SUBSCRIBE __redis__:invalidate");
        assert_eq!(ann.ask("GET a\nSET a 2"), "$1 1 +OK");
        assert_eq!(bob.told(), "*3 $7 message $20 __redis__:invalidate *1 $1 a");
    }

    #[test]
    fn a_redirection_into_nothing_is_told_and_shown() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        let id = bob.connection.id.number;
        ann.ask(&format!("HELLO 3\nCLIENT TRACKING ON REDIRECT {id}\nGET a"));
        assert!(!ann.ask("CLIENT TRACKINGINFO").contains("broken_redirect"));
        bob.leave();
        assert_eq!(ann.ask("SET a 1"), format!("+OK >2 $21 tracking-redir-broken :{id}"));
        assert!(ann.ask("CLIENT TRACKINGINFO").contains("broken_redirect"));
        assert!(ann.ask("CLIENT TRACKING ON REDIRECT 999").starts_with("-ERR The client ID"));
    }

    #[test]
    fn a_broadcast_spares_a_client_its_own_changes() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("HELLO 3\nCLIENT TRACKING ON BCAST PREFIX a NOLOOP");
        bob.ask("HELLO 3\nCLIENT TRACKING ON BCAST PREFIX a");
        assert_eq!(ann.ask("SET a1 x"), "+OK");
        assert_eq!(bob.told(), ">2 $10 invalidate *1 $2 a1");
        assert_eq!(bob.ask("MSET a1 y a2 y b1 y"), "+OK >2 $10 invalidate *2 $2 a1 $2 a2");
        assert_eq!(ann.told(), ">2 $10 invalidate *2 $2 a1 $2 a2");
    }

    #[test]
    fn a_key_that_leaves_the_full_table_counts_as_changed() {
        let stage = Stage::with(|config| config.tracking_table_max_keys = 2);
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("HELLO 3\nCLIENT TRACKING ON\nGET a\nGET b");
        bob.ask("HELLO 3\nCLIENT TRACKING ON\nGET b\nGET c");
        assert_eq!(ann.told(), ">2 $10 invalidate *1 $1 a");
    }
}
