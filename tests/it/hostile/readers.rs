//! Clients that request much and read nothing. Codes such as P11 are those of docs/reliability.md.

use super::assert_grew_less;
use super::probe::Probe;
use crate::support::client::{Client, PATIENCE};
use crate::support::notation::encode;
use crate::support::server::Server;
use crate::support::value::Value;
use std::io::Write;
use std::time::{Duration, Instant};

/// P10: a million commands in one pipeline are answered in order while other clients are served.
#[test]
fn a_million_pipelined_commands() {
    const COMMANDS: usize = 1_000_000;
    let server = Server::start();
    if !server.is_plain_tcp() {
        return;
    }
    let before = server.resident_bytes();
    let probe = Probe::start(&server);
    let mut client = server.connect();
    let mut writer = client.stream().try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        for at in 0..COMMANDS {
            encode(&["ECHO", &at.to_string()], &mut bytes);
            if bytes.len() > 60_000 {
                writer.write_all(&bytes).expect("pipeline sent");
                bytes.clear();
            }
        }
        writer.write_all(&bytes).expect("pipeline sent");
    });
    for at in 0..COMMANDS {
        let reply = client.reply(PATIENCE).expect("a reply to each command");
        assert_eq!(reply, Value::Bulk(at.to_string().into_bytes()));
    }
    sender.join().expect("all sent");
    assert_grew_less(&server, before, 128);
    probe.assert_served();
}

/// Long replies in long pipelines, read as fast as they arrive, leave other clients their turn.
#[test]
fn pipelines_of_long_replies() {
    let server = Server::start();
    if !server.is_plain_tcp() {
        return;
    }
    let mut filler = server.connect();
    let adds: Vec<Vec<String>> = (0..1000)
        .map(|_| ["XADD", "s", "*", "a", "v"].iter().map(|word| (*word).to_string()).collect())
        .collect();
    filler.pipeline(&adds);
    let probe = Probe::start(&server);
    let mut asked = Vec::new();
    for _ in 0..1000 {
        encode(&["XRANGE", "s", "-", "+"], &mut asked);
    }
    encode(&["QUIT"], &mut asked);
    let askers: Vec<_> = (0..2)
        .map(|_| {
            let client = server.connect();
            let mut writer = client.stream().try_clone().expect("a second handle");
            let asked = asked.clone();
            let sender = std::thread::spawn(move || writer.write_all(&asked).expect("sent"));
            std::thread::spawn(move || {
                // Only counts the bytes: decoding the replies would be the slower part.
                let read = std::io::copy(&mut client.stream(), &mut std::io::sink()).expect("replies");
                assert!(read > 1000 * 1000 * 20, "only {read} bytes came");
                sender.join().expect("all sent");
            })
        })
        .collect();
    for asker in askers {
        asker.join().expect("all replies");
    }
    probe.assert_served();
}

/// Sends requests without reading until the server stops reading, closes, or `most` bytes are sent.
fn flood(client: &mut Client, request: &[u8], most: usize) -> usize {
    let stream = client.wire();
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a write timeout");
    let block = request.repeat(1 + most.min(60_000) / request.len());
    let mut sent = 0;
    while sent < most {
        match stream.write(&block) {
            Ok(0) | Err(_) => break,
            Ok(count) => sent += count,
        }
    }
    sent
}

/// Unread replies are held back or end the connection; memory does not grow with them.
#[test]
fn replies_that_nobody_reads() {
    let server = Server::start();
    let mut filler = server.connect();
    let value = "v".repeat(100_000);
    filler.command(&["SET", "big", &value]);
    let before = server.resident_bytes();
    let probe = Probe::start(&server);
    let mut greedy: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for client in &mut greedy {
        // The replies are far larger than the requests. Redis has no limit for normal clients, so it gets
        // fewer requests.
        flood(client, b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n", if server.is_redis() { 1_000 } else { 1_000_000 });
    }
    assert_eq!(server.connect().line("PING"), Value::Simple(b"PONG".to_vec()));
    if !server.is_redis() {
        assert_grew_less(&server, before, 256);
    }
    probe.assert_served();
}

/// The same for replies to reads behind a write, which are due all at once after the sync; none is lost.
#[test]
fn replies_behind_writes_that_nobody_reads() {
    let value = "v".repeat(1 << 20);
    riding_replies(&value, &["SET", "{x}big", &value], &Value::ok());
    // The write has a few bytes.
    riding_replies(&value, &["COPY", "{x}source", "{x}big"], &Value::Integer(1));
}

fn riding_replies(value: &str, write: &[&str], written: &Value) {
    const READS: usize = 1_000;
    let server = Server::start();
    let mut client = server.connect();
    client.command(&["SET", "{x}source", value]);
    let before = server.resident_bytes();
    let probe = Probe::start(&server);
    let mut pipeline = Vec::new();
    encode(write, &mut pipeline);
    for _ in 0..READS {
        encode(&["GET", "{x}big"], &mut pipeline);
    }
    client.send_bytes(&pipeline).expect("sent");
    let mut other = server.connect();
    let deadline = Instant::now() + PATIENCE;
    while other.line("STRLEN {x}big").integer() == 0 {
        assert!(Instant::now() < deadline, "the write does not come");
    }
    assert_eq!(other.line("PING").text(), "PONG");
    if !server.is_redis() {
        assert_grew_less(&server, before, 256);
    }
    assert_eq!(client.receive(PATIENCE).expect("a reply"), *written);
    for read in 0..READS {
        assert!(client.receive(PATIENCE).expect("a reply") == Value::bulk(value), "read {read}");
    }
    probe.assert_served();
}

/// M1: a subscriber that does not read is disconnected at its limit; publisher and other subscribers are
/// unaffected.
#[test]
fn subscribers_that_never_read() {
    let server = Server::start();
    let before = server.resident_bytes();
    let probe = Probe::start(&server);
    let mut sleepers: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    for client in &mut sleepers {
        client.line("SUBSCRIBE ch");
    }
    let mut reader = server.connect();
    reader.line("SUBSCRIBE ch");
    let mut publisher = server.connect();
    let message = "m".repeat(16 * 1024);
    let mut published = 0;
    // 32 MiB is Redis's hard limit for a subscriber; the socket buffers hold some more.
    while published < 5_000 {
        let reached = publisher.command(&["PUBLISH", "ch", &message]).integer();
        published += 1;
        let got = reader.receive(PATIENCE).expect("every message reaches who reads");
        assert_eq!(got.elements()[2].text().len(), message.len());
        if reached == 1 {
            break;
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while publisher.line("PUBSUB NUMSUB ch").elements()[1].integer() > 1 {
        assert!(Instant::now() < deadline, "who never reads is still subscribed after {published} messages");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_grew_less(&server, before, 3 * 40 + 64);
    probe.assert_served();
}

/// P2: before AUTH, requests are small, and unread replies are bounded.
#[test]
fn floods_without_a_password() {
    let server = Server::with(&["--requirepass", "secret"]);
    let before = server.resident_bytes();
    let mut client = server.connect();
    for line in ["GET k", "XADD s * a 1", "SUBSCRIBE ch", "CONFIG GET *", "CLIENT LIST", "MULTI"] {
        let reply = client.line(line);
        assert!(reply.text().starts_with("NOAUTH"), "{line} answered {reply}");
    }
    assert!(client.line("AUTH wrong").text().starts_with("WRONGPASS"));
    for request in ["*11\r\n", "*2\r\n$16385\r\n", "*2\r\n$4\r\nAUTH\r\n$1000000\r\n"] {
        let mut stranger = server.connect();
        stranger.send_bytes(request.as_bytes()).expect("sent");
        let reply = stranger.reply(PATIENCE).expect("a refusal");
        assert!(reply.text().contains("unauthenticated"), "{request:?} answered {reply}");
        assert!(stranger.is_closed_within(PATIENCE), "open after {request:?}");
    }
    let mut strangers: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for stranger in &mut strangers {
        flood(stranger, b"GET k\r\n", 8_000_000);
    }
    if !server.is_redis() {
        // CVE-2025-21605 came after Redis 7.0.15.
        assert_grew_less(&server, before, 64);
    }
    assert_eq!(client.line("AUTH secret"), Value::ok());
    assert_eq!(client.line("GET k"), Value::Null);
    let mut other = server.connect();
    assert_eq!(other.line("HELLO 3 AUTH default secret").field("proto"), Some(Value::Integer(3)));
}

/// P3, P10, M1: many clients with half a request each, or with many subscriptions, use at most
/// `maxmemory-clients`: the largest are disconnected, except those with CLIENT NO-EVICT.
#[test]
fn memory_of_all_clients_together() {
    const LIMIT: usize = 8 << 20;
    let server = Server::with(&["--maxmemory-clients", &LIMIT.to_string()]);
    let probe = Probe::start(&server);
    let half_a_request = |bytes: usize| {
        let mut request = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", bytes * 2).into_bytes();
        request.resize(request.len() + bytes, b'v');
        request
    };
    let mut kept = server.connect();
    kept.line("CLIENT NO-EVICT on");
    kept.send_bytes(&half_a_request(3 << 20)).expect("half a request sent");
    let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        // A client that is closed meanwhile was served before.
        let _ = client.send_bytes(&half_a_request(2 << 20));
    }
    let evicted = || -> usize {
        let info = server.connect().line("INFO stats").text();
        let line = info.lines().find_map(|line| line.strip_prefix("evicted_clients:"));
        line.expect("evicted_clients").trim().parse().expect("a number")
    };
    let wait_for = |wanted: usize| {
        let deadline = Instant::now() + PATIENCE;
        while evicted() < wanted {
            assert!(Instant::now() < deadline, "{} clients were closed", evicted());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    // 3 MiB are kept; another 16 MiB do not fit into 8.
    wait_for(6);
    let deadline = Instant::now() + PATIENCE;
    let mut closed = [false; 8];
    while closed.iter().filter(|closed| **closed).count() < 6 {
        assert!(Instant::now() < deadline, "only these were closed: {closed:?}");
        for (client, closed) in clients.iter_mut().zip(&mut closed) {
            *closed = *closed || client.is_closed_within(Duration::ZERO);
        }
    }
    drop(clients);

    let mut subscriber = server.connect();
    let name = |at: usize| format!("{at}{}", "x".repeat(64 << 10));
    let before = evicted();
    for at in 0..200 {
        if subscriber.try_command(&["SUBSCRIBE", &name(at)]).is_err() {
            break;
        }
    }
    wait_for(before + 1);
    assert!(subscriber.is_closed_within(PATIENCE), "200 long names are more than the rest");

    // Half a request of the exempt client, then the other half.
    kept.send_bytes(&[&[b'v'; 3 << 20][..], b"\r\n"].concat()).expect("the rest sent");
    assert_eq!(kept.reply(PATIENCE).expect("a reply"), Value::ok());
    probe.assert_served();
}
