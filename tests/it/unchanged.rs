//! Writes that change nothing: nobody is disturbed by them.
//!
//! Each row says who notices a write: EXEC of a client that watches the key (`watch`), a client that caches it
//! (`cache`), and by which events a listener. `HEADWATER_TEST_SERVER=/usr/bin/redis-server` holds the rows of
//! its version against Redis.

use crate::support::client::{Client, PATIENCE};
use crate::support::server::Server;
use crate::support::value::Value;

/// The key that is watched and cached. The braces keep all keys of a row in one partition.
const KEY: &str = "{t}k";

/// A stream with two entries, of which consumer `c` of group `g` has the first one pending.
const STREAM: &str =
    "XADD {t}k 1-1 f v|XADD {t}k 1-2 f v|XGROUP CREATE {t}k g 0|XREADGROUP GROUP g c COUNT 1 STREAMS {t}k >";
const TEXT: &str = "SET {t}k v";
const NOTHING: &str = "";

struct Row {
    since: (u32, u32),
    before: &'static str,
    write: &'static str,
    noticed: &'static str,
}

const fn row(before: &'static str, write: &'static str, noticed: &'static str) -> Row {
    Row { since: (0, 0), before, write, noticed }
}

const fn since(since: (u32, u32), before: &'static str, write: &'static str, noticed: &'static str) -> Row {
    Row { since, before, write, noticed }
}

const ROWS: &[Row] = &[
    // Changes, so that a test that notices nothing fails.
    row(TEXT, "SET {t}k v", "watch cache set"),
    row(STREAM, "XADD {t}k 1-3 f v", "watch cache xadd"),
    row(STREAM, "XDEL {t}k 1-1", "watch cache xdel"),
    row(STREAM, "XTRIM {t}k MAXLEN 1", "watch cache xtrim"),
    row(NOTHING, "XGROUP CREATE {t}k g $ MKSTREAM", "watch cache xgroup-create"),
    row(TEXT, "EXPIRE {t}k 100", "watch cache expire"),
    row(TEXT, "EXPIRE {t}k -1", "watch cache del"),
    row(TEXT, "APPEND {t}k ''", "watch cache append"),
    row("SET {t}k 1", "INCRBY {t}k 0", "watch cache incrby"),
    row("SET {t}k 1", "INCRBYFLOAT {t}k 0", "watch cache incrbyfloat"),
    row("SET {t}k v EX 100", "PERSIST {t}k", "watch cache persist"),
    row(TEXT, "GETEX {t}k EX 100", "watch cache expire"),
    // Streams.
    row(NOTHING, "XADD {t}k NOMKSTREAM * f v", ""),
    row(NOTHING, "XADD {t}k 0-0 f v", ""),
    row(STREAM, "XADD {t}k 1-1 f v", ""),
    row(STREAM, "XADD {t}k MAXLEN 0 1-1 f v", ""),
    row(TEXT, "XADD {t}k * f v", ""),
    row(STREAM, "XTRIM {t}k MAXLEN 100", ""),
    row(STREAM, "XTRIM {t}k MAXLEN ~ 1", ""),
    row(STREAM, "XTRIM {t}k MINID 1-1", ""),
    row(NOTHING, "XTRIM {t}k MAXLEN 0", ""),
    row(STREAM, "XDEL {t}k 9-9", ""),
    row(NOTHING, "XDEL {t}k 1-1", ""),
    row(STREAM, "XSETID {t}k 1-2", "xsetid"),
    row(STREAM, "XSETID {t}k 1-1", ""),
    row(NOTHING, "XSETID {t}k 1-1", ""),
    since((8, 2), STREAM, "XDELEX {t}k IDS 1 9-9", ""),
    since((8, 2), STREAM, "XDELEX {t}k ACKED IDS 1 1-1", ""),
    since((8, 2), STREAM, "XDELEX {t}k DELREF IDS 1 9-9", ""),
    since((8, 2), STREAM, "XTRIM {t}k MAXLEN 0 ACKED", ""),
    since((8, 2), STREAM, "XACKDEL {t}k g IDS 1 9-9", ""),
    since((8, 2), STREAM, "XACKDEL {t}k h IDS 1 1-1", ""),
    since((8, 6), "XADD {t}k IDMP p 1 * f v", "XADD {t}k IDMP p 1 * f v", ""),
    since((8, 6), "XADD {t}k IDMPAUTO p * f v", "XADD {t}k IDMPAUTO p MAXLEN 0 * f v", ""),
    since((8, 6), "XADD {t}k IDMP p 1 * f v", "XCFGSET {t}k IDMP-DURATION 100", ""),
    since((8, 6), STREAM, "XIDMPRECORD {t}k p 1 9-9", ""),
    since((8, 6), "XADD {t}k 1-1 f v|XIDMPRECORD {t}k p 1 1-1", "XIDMPRECORD {t}k p 1 1-1", ""),
    // Groups.
    row(STREAM, "XACK {t}k g 9-9", ""),
    row(STREAM, "XACK {t}k g 1-1", ""),
    row(STREAM, "XACK {t}k h 1-1", ""),
    row(STREAM, "XGROUP CREATE {t}k g $", ""),
    row(STREAM, "XGROUP CREATE {t}k g $ MKSTREAM", ""),
    row(STREAM, "XGROUP CREATE {t}k h $ MKSTREAM", "xgroup-create"),
    row(STREAM, "XGROUP SETID {t}k g 1-1", "xgroup-setid"),
    row(STREAM, "XGROUP SETID {t}k h 1-1", ""),
    row(STREAM, "XGROUP DESTROY {t}k h", ""),
    row(STREAM, "XGROUP DESTROY {t}k g", "xgroup-destroy"),
    row(STREAM, "XGROUP CREATECONSUMER {t}k g c", ""),
    row(STREAM, "XGROUP CREATECONSUMER {t}k g d", "xgroup-createconsumer"),
    row(STREAM, "XGROUP DELCONSUMER {t}k g d", ""),
    row(STREAM, "XGROUP DELCONSUMER {t}k g c", "xgroup-delconsumer"),
    row(STREAM, "XCLAIM {t}k g c 0 9-9", ""),
    row(STREAM, "XCLAIM {t}k g c 999999 1-1", ""),
    row(STREAM, "XCLAIM {t}k g c 0 1-1", ""),
    row(STREAM, "XCLAIM {t}k h c 0 1-1", ""),
    row(STREAM, "XAUTOCLAIM {t}k g c 999999 0", ""),
    row(STREAM, "XREADGROUP GROUP g c STREAMS {t}k >", ""),
    row(STREAM, "XREADGROUP GROUP g c STREAMS {t}k 0", ""),
    row(
        "XGROUP CREATE {t}k g $ MKSTREAM|XGROUP CREATECONSUMER {t}k g c",
        "XREADGROUP GROUP g c STREAMS {t}k >",
        "",
    ),
    since((8, 8), STREAM, "XNACK {t}k g FAIL IDS 1 9-9", ""),
    since((8, 8), STREAM, "XNACK {t}k g FAIL IDS 1 1-1", ""),
    // Strings.
    row(TEXT, "SET {t}k w NX", ""),
    row(TEXT, "SET {t}k w NX GET", ""),
    row(NOTHING, "SET {t}k w XX", ""),
    row(STREAM, "SET {t}k w GET", ""),
    row(TEXT, "SETNX {t}k w", ""),
    row(TEXT, "MSETNX {t}k w {t}j w", ""),
    row("SET {t}j v", "MSETNX {t}k w {t}j w", ""),
    row(NOTHING, "GETDEL {t}k", ""),
    row(STREAM, "GETDEL {t}k", ""),
    row(TEXT, "GETEX {t}k", ""),
    row(TEXT, "GETEX {t}k PERSIST", ""),
    row(NOTHING, "GETEX {t}k EX 100", ""),
    row(TEXT, "INCR {t}k", ""),
    row(STREAM, "APPEND {t}k v", ""),
    // Keys.
    row(NOTHING, "DEL {t}k", ""),
    row(NOTHING, "UNLINK {t}k", ""),
    row(TEXT, "PERSIST {t}k", ""),
    row(NOTHING, "PERSIST {t}k", ""),
    row(NOTHING, "EXPIRE {t}k 100", ""),
    row(NOTHING, "EXPIRE {t}k -1", ""),
    row(TEXT, "EXPIRE {t}k 100 XX", ""),
    row(TEXT, "EXPIRE {t}k 100 GT", ""),
    row("SET {t}k v EX 100", "EXPIRE {t}k 200 NX", ""),
    row("SET {t}k v EX 100", "EXPIRE {t}k 50 GT", ""),
    row("SET {t}k v EX 100", "EXPIRE {t}k 200 LT", ""),
    row("SET {t}k v EX 100", "EXPIRE {t}k -1 GT", ""),
    row(TEXT, "TOUCH {t}k", ""),
    row(TEXT, "RENAME {t}k {t}k", ""),
    row(TEXT, "RENAMENX {t}k {t}k", ""),
    row("SET {t}k v|SET {t}j v", "RENAMENX {t}k {t}j", ""),
    row("SET {t}k v|SET {t}j v", "RENAMENX {t}j {t}k", ""),
    row(TEXT, "RENAME {t}j {t}k", ""),
    row("SET {t}k v|SET {t}j v", "COPY {t}j {t}k", ""),
    row(TEXT, "COPY {t}k {t}j", ""),
    row(TEXT, "COPY {t}j {t}k REPLACE", ""),
    row(TEXT, "COPY {t}k {t}k", ""),
    row(NOTHING, "MOVE {t}k 1", ""),
    row(TEXT, "RESTORE {t}k 0 x", ""),
    row(TEXT, "RESTORE {t}k 0 x REPLACE", ""),
    row(TEXT, "SWAPDB 0 0", ""),
];

/// What a client that caches and listens was told until now, without order.
fn told(witness: &mut Client) -> (bool, Vec<String>) {
    witness.line("PING");
    let (mut is_invalid, mut events) = (false, Vec::new());
    // Everything arrived before the reply.
    while let Ok(push) = witness.push(std::time::Duration::ZERO) {
        let parts = push.elements();
        match &parts[..] {
            [kind, keys] if kind.text() == "invalidate" => {
                is_invalid |= keys.is_null() || keys.elements().contains(&Value::bulk(KEY));
            }
            [kind, _, event] if kind.text() == "message" => events.push(event.text()),
            _ => {}
        }
    }
    (is_invalid, events)
}

#[test]
fn a_write_is_noticed_if_it_changes_something() {
    let server = Server::start();
    let (mut watcher, mut witness, mut writer) = (server.connect(), server.connect3(), server.connect());
    writer.line("CONFIG SET notify-keyspace-events KA");
    witness.send(&["SUBSCRIBE", &format!("__keyspace@0__:{KEY}")]).expect("sent");
    witness.push(PATIENCE).expect("the confirmation");
    assert_eq!(witness.line("CLIENT TRACKING ON"), Value::ok());
    let mut failures = String::new();
    for Row { since, before, write, noticed } in ROWS.iter().filter(|row| row.since <= server.version()) {
        writer.line("FLUSHALL");
        for line in before.split('|').filter(|line| !line.is_empty()) {
            let reply = writer.line(line);
            assert!(!reply.is_error(), "{line}: {reply}");
        }
        watcher.line(&format!("WATCH {KEY}"));
        told(&mut witness);
        witness.line(&format!("EXISTS {KEY}"));
        let reply = writer.line(write);
        let (is_invalid, events) = told(&mut witness);
        watcher.line("MULTI");
        watcher.line("PING");
        let is_aborted = watcher.line("EXEC").is_null();
        let mut seen: Vec<&str> = Vec::new();
        seen.extend(is_aborted.then_some("watch"));
        seen.extend(is_invalid.then_some("cache"));
        seen.extend(events.iter().map(|event| &event[..]));
        if seen.join(" ") != *noticed {
            failures += &format!(
                "{before}; {write} (since {since:?}) -> {reply}\n  noticed by: {}\n",
                seen.join(" ")
            );
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}
