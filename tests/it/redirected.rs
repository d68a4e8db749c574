//! CLIENT TRACKING with REDIRECT: a RESP2 client has its invalidations sent to another connection.

use crate::support::client::{Client, PATIENCE};
use crate::support::notation::{encode, split};
use crate::support::server::Server;
use crate::support::value::Value;
use std::time::Duration;

/// A RESP2 connection that receives another client's messages, and its id.
fn target(server: &Server) -> (Client, String) {
    let mut target = server.connect();
    let id = target.line("CLIENT ID").text();
    target.line("SUBSCRIBE __redis__:invalidate");
    (target, id)
}

/// The keys in the next message; empty: all keys.
fn invalidated(target: &mut Client) -> Option<Vec<String>> {
    let message = target.receive(PATIENCE).expect("a message").elements();
    assert_eq!(message[..2], [Value::bulk("message"), Value::bulk("__redis__:invalidate")]);
    (!message[2].is_null()).then(|| message[2].elements().iter().map(Value::text).collect())
}

/// Nothing else is pending: a message sent now is the next one.
fn expect_nothing(target: &mut Client, other: &mut Client) {
    assert_eq!(other.line("PUBLISH __redis__:invalidate end"), Value::Integer(1));
    let message = target.receive(PATIENCE).expect("a message").elements();
    assert_eq!(message[2], Value::bulk("end"));
}

#[test]
fn messages_go_to_the_subscribed_connection() {
    let server = Server::start();
    let (mut target, id) = target(&server);
    let (mut client, mut other) = (server.connect(), server.connect());
    assert_eq!(client.line(&format!("CLIENT TRACKING ON REDIRECT {id}")), Value::ok());
    assert_eq!(client.line("CLIENT GETREDIR").text(), id);
    client.line("GET a");
    other.line("SET a 1");
    assert_eq!(invalidated(&mut target), Some(vec!["a".to_owned()]));
    // One message until the key is read again.
    other.line("SET a 2");
    expect_nothing(&mut target, &mut other);
    client.line("XREAD STREAMS {x}s {x}t 0 0");
    other.line("MULTI");
    other.line("XADD {x}s 1-1 f v");
    other.line("XADD {x}t 1-1 f v");
    other.line("EXEC");
    let mut keys =
        [invalidated(&mut target), invalidated(&mut target)].map(Option::unwrap_or_default).concat();
    keys.sort();
    assert_eq!(keys, ["{x}s", "{x}t"]);
    client.line("GET a");
    other.line("FLUSHALL");
    // Several partitions are emptied one after the other.
    let partitions = client.line("CONFIG GET partitions").elements().get(1).map_or(1, Value::integer);
    for _ in 0..partitions {
        assert_eq!(invalidated(&mut target), None);
    }
    // The tracking client itself receives no messages, so its replies stay in step.
    assert_eq!(client.line("PING").text(), "PONG");
    assert_eq!(client.line("CLIENT TRACKING OFF"), Value::ok());
    client.line("GET a");
    other.line("SET a 3");
    expect_nothing(&mut target, &mut other);
}

#[test]
fn prefixes_go_there_too() {
    let server = Server::start();
    let (mut target, id) = target(&server);
    let (mut client, mut other) = (server.connect(), server.connect());
    let on = format!("CLIENT TRACKING ON REDIRECT {id} BCAST PREFIX user: PREFIX order: NOLOOP");
    assert_eq!(client.line(&on), Value::ok());
    other.line("SET user:1 a");
    assert_eq!(invalidated(&mut target), Some(vec!["user:1".to_owned()]));
    other.line("SET item:1 a");
    client.line("SET order:1 a");
    other.line("SET order:2 a");
    assert_eq!(invalidated(&mut target), Some(vec!["order:2".to_owned()]));
}

#[test]
fn a_connection_of_resp3_gets_pushes_for_another() {
    let server = Server::start();
    let mut target = server.connect3();
    let id = target.line("CLIENT ID").text();
    let (mut client, mut other) = (server.connect(), server.connect());
    assert_eq!(client.line(&format!("CLIENT TRACKING ON REDIRECT {id}")), Value::ok());
    client.line("GET a");
    other.line("SET a 1");
    let push = target.push(PATIENCE).expect("a push").elements();
    assert_eq!((push[0].text(), push[1].elements()), ("invalidate".to_owned(), vec![Value::bulk("a")]));
}

#[test]
fn who_does_not_listen_gets_nothing() {
    let server = Server::start();
    let mut target = server.connect();
    let id = target.line("CLIENT ID").text();
    let (mut client, mut other) = (server.connect(), server.connect());
    client.line(&format!("CLIENT TRACKING ON REDIRECT {id}"));
    client.line("GET a");
    other.line("SET a 1");
    assert_eq!(target.line("PING").text(), "PONG");
    target.line("SUBSCRIBE __redis__:invalidate");
    expect_nothing(&mut target, &mut other);
}

#[test]
fn a_target_that_has_gone_is_told_of() {
    let server = Server::start();
    let (mut target, id) = target(&server);
    let (mut client, mut other) = (server.connect3(), server.connect());
    client.line(&format!("CLIENT TRACKING ON REDIRECT {id}"));
    client.line("GET a");
    assert_eq!(target.line("QUIT").text(), "OK");
    assert!(target.is_closed_within(PATIENCE));
    other.line("SET a 1");
    let push = client.push(PATIENCE).expect("a push").elements();
    assert_eq!((push[0].text(), push[1].text()), ("tracking-redir-broken".to_owned(), id.clone()));
    let info = client.line("CLIENT TRACKINGINFO").elements();
    let flags: Vec<String> = info[1].elements().iter().map(Value::text).collect();
    assert_eq!(flags, ["on", "broken_redirect"]);
    assert_eq!((info[2].text(), info[3].text()), ("redirect".to_owned(), id));
    let line = client.line("CLIENT INFO").text();
    assert!(line.contains(" flags=tR "), "{line}");
}

/// A transaction starts to track in the same round in which another client changes the key and a third stops
/// tracking: a sleep lets the server read all three at once, in order of arrival.
#[test]
fn tracking_that_begins_in_a_transaction_misses_nothing() {
    let server = Server::with(&["--enable-debug-command", "local"]);
    let mut clients = [server.connect(), server.connect3(), server.connect3(), server.connect()];
    clients[2].line("CLIENT TRACKING ON");
    clients[1].line("PING");
    let requests = [
        &["DEBUG SLEEP 0.3"][..],
        &["MULTI", "CLIENT TRACKING ON", "GET k", "EXEC"],
        &["CLIENT TRACKING OFF"],
        &["SET k 2"],
    ];
    for (client, requests) in clients.iter_mut().zip(requests) {
        let mut bytes = Vec::new();
        requests.iter().for_each(|line| encode(&split(line), &mut bytes));
        client.send_bytes(&bytes).expect("sent");
        // In order of arrival.
        std::thread::sleep(Duration::from_millis(20));
    }
    let [_, tracking, stopped, changing] = &mut clients;
    assert_eq!(changing.receive(PATIENCE).expect("a reply"), Value::ok());
    assert_eq!(stopped.receive(PATIENCE).expect("a reply"), Value::ok());
    for _ in 0..4 {
        tracking.receive(PATIENCE).expect("a reply");
    }
    let push = tracking.push(PATIENCE).expect("a push").elements();
    assert_eq!((push[0].text(), push[1].elements()), ("invalidate".to_owned(), vec![Value::bulk("k")]));
}
