//! CLIENT LIST: the description of a connection, and the connections that a filter selects.

use crate::command::value::connection::{ClientClass, ClientFilter};
use crate::frontend::frontend::Frontend;
use crate::net::connection::{Connection, Hold};
use crate::pubsub::registry::Kind;
use crate::push::invalidation::redirection;
use crate::push::tracking::{Tracker, TrackingMode};
use crate::resp::writer::Protocol;
use crate::session::pending::BlockedRequest;
use crate::session::session::Session;
use std::fmt::Write;
use std::rc::Rc;

/// Estimated bytes per watched key, besides its name.
const WATCH_BYTES: usize = 64;

impl Frontend {
    /// Estimated bytes of a client: its request and replies, its transaction, its watched keys and
    /// subscriptions, and the fixed cost of a connection.
    pub fn client_memory(&self, connection: &Connection) -> usize {
        let session = connection.session.borrow();
        let queue = session.queue.as_ref().map_or(0, |queue| queue.bytes);
        let watched: usize = session.watched.iter().map(|watched| watched.key.len() + WATCH_BYTES).sum();
        let subscriptions = if session.subscriptions == 0 {
            0
        } else {
            self.push.registry.borrow().bytes(connection.subscriber())
        };
        let names = session.name.len() + session.library_name.len() + session.library_version.len();
        let waiting = connection.blocked.borrow().as_ref().map_or(0, BlockedRequest::bytes);
        let input = connection.activity.input.get();
        let buffers = input.held + connection.output_memory();
        let contents = buffers + input.arguments + queue + watched + subscriptions + names + waiting;
        contents + size_of::<Connection>()
    }

    /// One line of CLIENT LIST (Redis 8.0 `catClientInfoString`), without its line end. `is_spoilt`: a
    /// watched key has changed.
    pub fn describe_client(&self, connection: &Connection, is_spoilt: bool) -> String {
        let now_ms = self.monotonic_ms();
        let session = connection.session.borrow();
        let registry = self.push.registry.borrow();
        let tracking = self.push.tracking.borrow();
        let subscriptions = [Kind::Channel, Kind::Pattern, Kind::Shard]
            .map(|kind| registry.count(connection.subscriber(), kind));
        let blocked = connection.blocked.borrow().is_some() || connection.activity.hold.get() == Hold::Paused;
        let multi = session.queue.as_ref().map_or(-1, |queue| queue.requests.len() as i64);
        let multi_memory = session.queue.as_ref().map_or(0, |queue| queue.bytes);
        let input = connection.activity.input.get();
        let waiting = connection.blocked.borrow().as_ref().map_or(0, BlockedRequest::bytes);
        let output = connection.output_bytes();
        let output_memory = connection.output_memory();
        let mut line = String::new();
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} \
             watch={} qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs={} rbp={} obl={} oll=0 omem={} tot-mem={} \
             events={} cmd={} user={} redir={} resp={} lib-name={} lib-ver={} io-thread=0",
            connection.id.number,
            connection.peer,
            connection.local,
            connection.descriptor(),
            session.name.escape_ascii(),
            now_ms.saturating_sub(connection.activity.created_at_ms) / 1000,
            now_ms.saturating_sub(connection.activity.last_active_ms.get()) / 1000,
            flags(&session, tracking.tracker(connection.id.number), blocked, is_spoilt, connection,),
            session.database,
            subscriptions[0],
            subscriptions[1],
            subscriptions[2],
            multi,
            session.watched.len(),
            input.held,
            input.free,
            input.arguments + waiting,
            multi_memory,
            output_memory,
            output_memory,
            output,
            output,
            self.client_memory(connection),
            if output > 0 { "rw" } else { "r" },
            session.last_command.map_or("NULL", |row| row.full_name()),
            session.user.name().escape_ascii(),
            redirection(tracking.tracker(connection.id.number)),
            protocol_number(session.protocol),
            session.library_name.escape_ascii(),
            session.library_version.escape_ascii(),
        );
        line
    }

    /// The connections that the filter selects, in order of their ids.
    pub fn clients(&self, filter: &ClientFilter<'_>) -> Vec<Rc<Connection>> {
        let now_ms = self.monotonic_ms();
        let connections = self.connections.all();
        connections.values().filter(|connection| self.is_meant(filter, connection, now_ms)).cloned().collect()
    }

    fn is_meant(&self, filter: &ClientFilter<'_>, connection: &Connection, now_ms: u64) -> bool {
        let subscribed = connection.session.borrow().subscriptions > 0;
        let class = if subscribed { ClientClass::PubSub } else { ClientClass::Normal };
        let age_seconds = now_ms.saturating_sub(connection.activity.created_at_ms) / 1000;
        filter.ids.as_ref().is_none_or(|ids| ids.contains(&connection.id.number))
            && filter.class.is_none_or(|wanted| wanted == class)
            && filter.user.is_none_or(|user| user == connection.session.borrow().user.name())
            && filter.address.is_none_or(|address| connection.peer.to_string().as_bytes() == address)
            && filter.local_address.is_none_or(|address| connection.local.to_string().as_bytes() == address)
            && filter.max_age_seconds.is_none_or(|age| age_seconds >= age)
    }
}

/// The number that HELLO uses.
pub fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    }
}

/// The letters of CLIENT LIST's `flags`.
fn flags(
    session: &Session,
    tracker: Option<&Tracker>,
    blocked: bool,
    spoilt: bool,
    connection: &Connection,
) -> String {
    let mut flags = String::new();
    let letters = [
        (session.is_monitoring, 'O'),
        (session.subscriptions > 0, 'P'),
        (session.queue.is_some(), 'x'),
        (blocked, 'b'),
        (tracker.is_some(), 't'),
        (tracker.is_some_and(|tracker| tracker.is_redirect_broken), 'R'),
        (tracker.is_some_and(|tracker| tracker.mode == TrackingMode::Broadcast), 'B'),
        (spoilt, 'd'),
        (connection.is_closing(), 'c'),
        (connection.peer.is_unix(), 'U'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ];
    flags.extend(letters.iter().filter(|(set, _)| *set).map(|(_, letter)| letter));
    if flags.is_empty() {
        flags.push('N');
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{Client, Stage};

    fn letters(client: &Client) -> String {
        let list = client.stage().client().ask(&format!("CLIENT LIST ID {}", client.connection.id.number));
        let flags = list.split(' ').find_map(|field| field.strip_prefix("flags="));
        flags.expect("it is in the list").to_owned()
    }

    #[test]
    fn a_filter_selects_by_all_its_conditions() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        stage.pass_ms(3000);
        let cid = stage.client();
        ann.ask("ACL SETUSER ann on nopass +@all allchannels\nAUTH ann x\nSUBSCRIBE a");
        let selected = |filter: &ClientFilter<'_>| {
            let clients = stage.frontend.clients(filter);
            clients.iter().map(|client| client.id.number).collect::<Vec<_>>()
        };
        let [a, b, c] = [&ann, &bob, &cid].map(|client| client.connection.id.number);
        let address = bob.connection.peer.to_string();
        assert_eq!(selected(&ClientFilter::default()), [a, b, c]);
        assert_eq!(selected(&ClientFilter { user: Some(b"ann"), ..Default::default() }), [a]);
        assert_eq!(
            selected(&ClientFilter { class: Some(ClientClass::Normal), ..Default::default() }),
            [b, c]
        );
        assert_eq!(selected(&ClientFilter { max_age_seconds: Some(3), ..Default::default() }), [a, b]);
        let old_and_plain =
            ClientFilter { class: Some(ClientClass::Normal), max_age_seconds: Some(3), ..Default::default() };
        assert_eq!(selected(&old_and_plain), [b]);
        assert_eq!(selected(&ClientFilter { address: Some(address.as_bytes()), ..Default::default() }), [b]);
        let ids = Some([c, 999].into_iter().collect());
        assert_eq!(selected(&ClientFilter { ids, ..Default::default() }), [c]);
    }

    #[test]
    fn the_letters_tell_what_a_client_does() {
        let stage = Stage::new();
        for (requests, expected) in [
            ("PING", "N"),
            ("MULTI", "x"),
            ("SUBSCRIBE a", "P"),
            ("MONITOR", "O"),
            ("XREAD BLOCK 0 STREAMS s $", "b"),
            ("CLIENT TRACKING ON BCAST\nCLIENT NO-EVICT ON", "tBe"),
            ("WATCH a\nSET a 1", "d"),
        ] {
            let client = stage.client();
            client.ask(requests);
            assert_eq!(letters(&client), expected, "{requests}");
        }
        let (paused, pausing) = (stage.client(), stage.client());
        pausing.ask("CLIENT PAUSE 1000 WRITE");
        paused.ask("SET a 1");
        assert_eq!(letters(&paused), "b");
    }

    #[test]
    fn the_request_that_asks_sees_itself() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        let field = |line: &str, name: &str| -> usize {
            let found = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("{name} in {line}")).parse().expect("a number")
        };
        let line = "*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n";
        ann.send_bytes(line);
        let told = ann.told();
        assert_eq!((field(&told, "qbuf"), field(&told, "argv-mem")), (line.len(), 10));
        assert!(field(&told, "qbuf-free") > 0);
        ann.send_bytes("*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$100\r\nhalf");
        let told = bob.ask(&format!("CLIENT LIST ID {}", ann.connection.id.number));
        assert_eq!((field(&told, "qbuf"), field(&told, "argv-mem")), (23, 0), "what waits for its end");
        let cid = stage.client();
        let idle = bob.ask(&format!("CLIENT LIST ID {}", cid.connection.id.number));
        assert_eq!(["qbuf", "qbuf-free", "argv-mem"].map(|name| field(&idle, name)), [0; 3]);
        ann.send_bytes(&"x".repeat(96));
        ann.ask("\nXREAD BLOCK 0 STREAMS abcdef $");
        let told = bob.ask(&format!("CLIENT LIST ID {}", ann.connection.id.number));
        assert!(field(&told, "argv-mem") >= 6, "{told}");
        assert!(bob.ask("INFO clients").contains("client_recent_max_input_buffer:14"));
    }

    #[test]
    fn what_a_client_keeps_counts_as_its_memory() {
        let stage = Stage::new();
        let long = "k".repeat(10_000);
        for requests in [
            format!("MULTI\nGET {long}"),
            format!("WATCH {long}"),
            format!("SUBSCRIBE {long}"),
            format!("XREAD BLOCK 0 STREAMS {long} $"),
            format!("CLIENT SETNAME {long}"),
        ] {
            let client = stage.client();
            let before = stage.frontend.client_memory(&client.connection);
            client.ask(&requests);
            assert!(
                stage.frontend.client_memory(&client.connection) >= before + 10_000,
                "{}",
                &requests[..12]
            );
        }
    }
}
