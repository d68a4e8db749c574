//! Bytes that are not requests, or not yet. Codes such as P11 are those of docs/reliability.md.

use super::assert_grew_less;
use super::probe::Probe;
use crate::support::client::PATIENCE;
use crate::support::random::Random;
use crate::support::server::Server;
use crate::support::value::Value;
use std::time::Duration;

/// P1: a count or length uses memory only as its bytes arrive.
#[test]
fn huge_counts_and_lengths() {
    let server = Server::start();
    let before = server.resident_bytes();
    let probe = Probe::start(&server);
    let mut open = Vec::new();
    for request in [
        "*2147483647\r\n",
        "*2147483647\r\n$3\r\nGET\r\n",
        "*1048576\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        "*1\r\n$2147483647\r\n",
        "*1\r\n$536870912\r\n",
        "*2\r\n$4\r\nECHO\r\n$536870912\r\nabc",
        "*2\r\n$4\r\nECHO\r\n$18446744073709551615\r\n",
        "*9223372036854775807\r\n",
        "*-9223372036854775808\r\n",
    ] {
        for _ in 0..20 {
            let mut client = server.connect();
            client.send_bytes(request.as_bytes()).expect("sent");
            open.push(client);
        }
    }
    assert_eq!(server.connect().line("PING"), Value::Simple(b"PONG".to_vec()));
    assert_grew_less(&server, before, 64);
    probe.assert_served();
}

/// P3: half a request costs little, disturbs no other client, and is answered once completed.
#[test]
fn half_requests_held_open() {
    let server = Server::start();
    let before = server.resident_bytes();
    let probe = Probe::start(&server);
    let request = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n";
    let mut half = Vec::new();
    for at in 0..400 {
        let mut client = server.connect();
        let cut = 1 + at % (request.len() - 1);
        client.send_bytes(&request[..cut]).expect("sent");
        half.push((client, cut));
    }
    assert_grew_less(&server, before, 64);
    for (client, cut) in half.iter_mut().rev() {
        client.send_bytes(&request[*cut..]).expect("sent");
        assert_eq!(
            client.reply(PATIENCE).expect("a reply to the completed request"),
            Value::ok(),
            "cut at {cut}"
        );
    }
    probe.assert_served();
}

/// P4: empty requests leave no state behind.
#[test]
fn empty_requests() {
    let server = Server::start();
    let mut client = server.connect();
    for empty in ["\r\n", "*0\r\n", "*-1\r\n", "\n", "   \r\n", "*0\r\n*0\r\n\r\n"] {
        client.send_bytes(empty.as_bytes()).expect("sent");
        assert_eq!(client.line("ECHO still-here"), Value::bulk("still-here"), "after {empty:?}");
    }
}

/// P5: the numbers of the protocol are strict, and a refusal closes the connection.
#[test]
fn numbers_of_the_protocol_are_strict() {
    let server = Server::start();
    for request in [
        "*1\r\n$+4\r\nPING\r\n",
        "*1\r\n$ 4\r\nPING\r\n",
        "* 1\r\n$4\r\nPING\r\n",
        "*1\r\n$-5\r\n",
        "*1\r\n:4\r\nPING\r\n",
        "*x\r\n",
    ] {
        let mut client = server.connect();
        client.send_bytes(request.as_bytes()).expect("sent");
        let reply = client.reply(PATIENCE).expect("an error before the end");
        assert!(reply.text().starts_with("ERR Protocol error"), "{request:?} answered {reply}");
        assert!(client.is_closed_within(PATIENCE), "open after {request:?}");
    }
}

/// P15: a browser's request ends the connection; no part of it is executed.
#[test]
fn web_requests_are_cut_off() {
    let server = Server::start();
    for request in [
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\nSET web 1\r\nSET web 2\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET web 1\r\n",
        "HOST: x\r\nSET web 1\r\n",
    ] {
        let mut client = server.connect();
        client.send_bytes(request.as_bytes()).expect("sent");
        assert!(client.is_closed_within(PATIENCE), "still open after {request:?}");
    }
    assert_eq!(server.connect().line("GET web"), Value::Null);
}

/// P6, P16: bytes of other protocols and random bytes; the server replies, closes or waits, and survives.
#[test]
fn noise() {
    let server = Server::start();
    let before = server.resident_bytes();
    let probe = Probe::start(&server);
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\xffrandom\r\n";
    let nested = "*1\r\n".repeat(50_000);
    let mut random = Random::from_environment("noise");
    for round in 0..300 {
        let mut client = server.connect();
        let bytes = match round % 5 {
            0 => tls.to_vec(),
            1 => nested.clone().into_bytes(),
            2 => (0..random.below(3000)).map(|_| random.next() as u8).collect(),
            // Almost a request: one wrong byte.
            3 => {
                let mut bytes = b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\n1\r\n".to_vec();
                let at = random.below(bytes.len());
                bytes[at] = random.next() as u8;
                bytes
            }
            _ => vec![b'A' + (round % 26) as u8; 100_000],
        };
        // The server may close before everything is sent.
        let _ = client.send_bytes(&bytes);
        let _ = client.receive(Duration::from_millis(1));
    }
    assert_eq!(server.connect().line("PING"), Value::Simple(b"PONG".to_vec()));
    assert_grew_less(&server, before, 64);
    probe.assert_served();
}

/// Any bytes may be a name or a value, and come back unchanged.
#[test]
fn names_that_are_not_text() {
    let mut server = Server::start();
    let odd: Vec<u8> = (0..=255).collect();
    for mut client in [server.connect(), server.connect3()] {
        let key: &[u8] = &odd;
        client.command(&[b"DEL".as_slice(), key]);
        client.command(&[b"XADD".as_slice(), key, b"1-1", key, key]);
        client.command(&[b"XGROUP".as_slice(), b"CREATE", key, key, b"0"]);
        let read = client.command(&[b"XREADGROUP".as_slice(), b"GROUP", key, key, b"STREAMS", key, b">"]);
        let entry = Value::Array(vec![
            Value::bulk("1-1"),
            Value::Array(vec![Value::Bulk(odd.clone()), Value::Bulk(odd.clone())]),
        ]);
        assert_eq!(
            read.field(&String::from_utf8_lossy(&odd))
                .or_else(|| Some(read.elements()[0].elements()[1].clone())),
            Some(Value::Array(vec![entry.clone()]))
        );
        let pending = client.command(&[b"XPENDING".as_slice(), key, key, b"-", b"+", b"1"]);
        assert_eq!(pending.elements()[0].elements()[1], Value::Bulk(odd.clone()));
        // P14: an error that quotes the client stays one line.
        let error = client.command(&[b"XINFO".as_slice(), b"CONSUMERS", key, b"no\r\n+OK\r\ngroup"]);
        assert!(error.is_error() && !error.text().contains('\n'), "{error}");
        let unknown = client.command(&[b"no\r\n+OK\r\nsuch".as_slice(), b"\r\n:1\r\n"]);
        assert!(unknown.is_error() && !unknown.text().contains('\n'), "{unknown}");
        assert_eq!(client.line("PING"), Value::Simple(b"PONG".to_vec()));
    }
    server.kill();
    server.restart();
    let key: &[u8] = &odd;
    let entries = server.connect().command(&[b"XRANGE".as_slice(), key, b"-", b"+"]);
    assert_eq!(entries.elements()[0].elements()[1].elements()[0], Value::Bulk(odd.clone()));
}
