//! Large values are in memory once: lists are encoded while they are sent, and all subscribers share a
//! message.

use super::assert_grew_less;
use super::probe::Probe;
use crate::support::client::{Client, PATIENCE};
use crate::support::server::Server;
use std::io::Read;

/// Size of the stream in MiB; `HEADWATER_STREAM_MIB` for more than a test run should write.
fn stream_mib() -> usize {
    std::env::var("HEADWATER_STREAM_MIB").map_or(192, |text| text.parse().expect("a number of MiB"))
}

const ENTRY_BYTES: usize = 64 << 10;

/// Ids from here on are equally long.
const FIRST_ID: usize = 1_000_000;
const ID_BYTES: usize = "1000000-1".len();

/// XRANGE and XREAD over a whole stream need little memory besides it, show the stream as it was at their
/// execution, and cost no more when their client stops reading.
#[test]
fn lists_of_a_whole_stream_are_made_while_they_are_sent() {
    let server = Server::start();
    if !server.is_plain_tcp() || server.is_redis() {
        return;
    }
    let entries = stream_mib() * 16;
    let mut writer = server.connect();
    let value = "v".repeat(ENTRY_BYTES);
    for at in 0..entries {
        writer.send(&["XADD", "s", &format!("{}-1", FIRST_ID + at), "field", &value]).expect("sent");
        if at % 16 == 15 {
            (0..16).for_each(|_| assert_eq!(writer.receive(PATIENCE).expect("an id").text().len(), ID_BYTES));
        }
    }
    let before = server.resident_bytes();
    let probe = Probe::start(&server);
    let mut sleeper = server.connect();
    sleeper.send(&["XRANGE", "s", "-", "+"]).expect("sent");
    let mut reader = server.connect();
    reader.send(&["XREAD", "STREAMS", "s", "0"]).expect("sent");
    let mut first = [0; 64 << 10];
    reader.stream().read_exact(&mut first).expect("the beginning of the list");
    assert!(first.starts_with(b"*1\r\n*2\r\n"), "{:?}", &first[..32]);
    // Both were executed: later entries are not in their lists.
    let mut peeked = [0; 1];
    sleeper.stream().peek(&mut peeked).expect("the beginning of the other list");
    writer.line("XADD s * late 1");
    writer.line("DEL s");
    assert_grew_less(&server, before, 64);
    assert_eq!(length_of(&mut reader, first.len()), list_bytes(entries, "*1\r\n*2\r\n$1\r\ns\r\n"));
    assert_grew_less(&server, before, 64);
    assert_eq!(length_of(&mut sleeper, 0), list_bytes(entries, ""));
    assert_grew_less(&server, before, 64);
    probe.assert_served();
}

/// Bytes of a reply with this many entries; `before` precedes the list.
fn list_bytes(entries: usize, before: &str) -> usize {
    let entry = "*2\r\n$9\r\n1000000-1\r\n*2\r\n$5\r\nfield\r\n$65536\r\n\r\n".len() + ENTRY_BYTES;
    before.len() + format!("*{entries}\r\n").len() + entries * entry
}

/// Reads a reply to its end and returns its length, including the bytes already read.
fn length_of(client: &mut Client, already: usize) -> usize {
    client.send(&["PING"]).expect("sent");
    let mut stream = client.stream();
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (mut total, mut tail, mut block) = (already, Vec::new(), vec![0; 256 << 10]);
    while !tail.ends_with(b"+PONG\r\n") {
        let read = stream.read(&mut block).expect("more of the list");
        assert!(read > 0, "closed after {total} bytes");
        total += read;
        tail.extend_from_slice(&block[read.saturating_sub(16)..read]);
        tail.drain(..tail.len().saturating_sub(16));
    }
    total - b"+PONG\r\n".len()
}

/// A message to a thousand subscribers that do not read yet is in memory once.
#[test]
fn a_message_is_in_memory_once() {
    const SUBSCRIBERS: usize = 1_000;
    let server = Server::start();
    if !server.is_plain_tcp() || server.is_redis() {
        return;
    }
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS).map(|_| server.connect()).collect();
    for subscriber in &mut subscribers {
        // So that the message does not go into the buffers of the system instead.
        socket2::SockRef::from(subscriber.stream()).set_recv_buffer_size(4096).expect("a small buffer");
        subscriber.line("SUBSCRIBE channel");
    }
    let mut reader = server.connect();
    reader.line("SUBSCRIBE channel");
    let before = server.resident_bytes();
    let message = "m".repeat(4 << 20);
    let reached = server.connect().command(&["PUBLISH", "channel", &message]).integer();
    assert_eq!(reached, SUBSCRIBERS as i64 + 1);
    assert_grew_less(&server, before, 64);
    assert_eq!(reader.receive(PATIENCE).expect("the message").elements()[2].text(), message);
}
