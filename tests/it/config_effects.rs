//! CONFIG SET of settings without an effect on replies: the server's behaviour afterwards.

use crate::support::client::{Client, PATIENCE};
use crate::support::server::{Server, binary_under_test, is_redis};
use crate::support::value::Value;
use std::time::{Duration, Instant};

#[test]
fn the_level_of_the_log_changes_at_once() {
    if is_redis(&binary_under_test()) {
        return;
    }
    let server = Server::start();
    let mut client = server.connect();
    // The server logs the rules of a user at the debug level, before the reply.
    for (level, name, is_logged) in [
        ("notice", "ann", false),
        ("debug", "bob", true),
        ("verbose", "cid", true),
        ("warning", "dan", false),
        ("nothing", "eve", false),
        ("debug", "fay", true),
    ] {
        assert_eq!(client.line(&format!("CONFIG SET loglevel {level}")), Value::ok());
        assert_eq!(client.line(&format!("ACL SETUSER {name} on")), Value::ok());
        let log = server.log();
        assert_eq!(log.contains(&format!("user={name}")), is_logged, "{level}: {log}");
    }
    assert!(client.line("CONFIG SET loglevel loud").is_error());
    assert_eq!(client.line("ACL SETUSER gil on"), Value::ok());
    assert!(server.log().contains("user=gil"), "a refused level changed the log");
}

/// The time for a number of keys with an expiry of one millisecond, each set after the deletion of the
/// previous one was reported: one round per key.
fn time_of_rounds(server: &Server, client: &mut Client, rounds: usize) -> Duration {
    let mut listener = server.connect();
    listener.line("SUBSCRIBE __keyevent@0__:expired");
    let began = Instant::now();
    for round in 0..rounds {
        client.line(&format!("SET k{round} v PX 1"));
        let message = listener.receive(PATIENCE).expect("a message");
        assert_eq!(message.elements()[2], Value::bulk(&format!("k{round}")));
    }
    began.elapsed()
}

#[test]
fn hz_is_how_often_what_is_due_is_looked_for() {
    let server = Server::start();
    let mut client = server.connect();
    client.line("CONFIG SET notify-keyspace-events Ex");
    let slow = time_of_rounds(&server, &mut client, 8);
    // The first may arrive at once.
    assert!(slow >= Duration::from_millis(690), "{slow:?} for 8 rounds, 10 of them a second");
    assert_eq!(client.line("CONFIG SET hz 500"), Value::ok());
    time_of_rounds(&server, &mut client, 1);
    let quick = time_of_rounds(&server, &mut client, 8);
    assert!(quick < Duration::from_millis(690), "{quick:?} for 8 rounds, 500 of them a second");
    let info = client.line("INFO server").text();
    assert!(info.contains("\r\nhz:500\r\n") && info.contains("\r\nconfigured_hz:500\r\n"), "{info}");
}
