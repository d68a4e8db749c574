//! DUMP on one server, RESTORE on the other: streams and strings from random commands are equal on both
//! sides, including delivery times and node sizes.

use super::common_commands;
use super::generate::{Action, Common, How, Sequence};
use crate::support::client::Client;
use crate::support::keys::name;
use crate::support::random::{Random, from_environment};
use crate::support::reference::redis_server;
use crate::support::server::{Server, binary_under_test};
use crate::support::value::Value;

const KEYS: &[&str] = &["s", "t", "u", "k", "n", "x", "f"];

/// Commands that change a key of database 0 and do not block.
const MAKERS: &[&str] = &[
    "APPEND",
    "DEL",
    "INCRBY",
    "SET",
    "SETEX",
    "XACK",
    "XADD",
    "XAUTOCLAIM",
    "XCLAIM",
    "XDEL",
    "XGROUP",
    "XREADGROUP",
    "XSETID",
    "XTRIM",
];

/// Fields that a version lacks or counts in its own way; between two servers of one version nothing is lost.
const OF_VERSIONS: &[&str] = &[
    "active-time",
    "entries-read",
    "idmp-duration",
    "idmp-maxsize",
    "iids-added",
    "iids-duplicates",
    "iids-tracked",
    "lag",
    "nacked-count",
    "pids-tracked",
    "radix-tree-nodes",
];

/// Fields without a place in Redis 5's encoding. For an empty stream, Redis 7.0 then reports a wrong first
/// id.
const OF_REDIS_7: &[&str] = &["entries-added", "max-deleted-entry-id", "recorded-first-entry-id"];

fn sequences() -> usize {
    from_environment("HEADWATER_DUMP_SEQUENCES", 300)
}

/// Builds values, and dumps them.
fn make(client: &mut Client, random: &mut Random, common: &Common) -> Vec<(&'static str, Value)> {
    client.line("FLUSHALL");
    for _ in 0..3 {
        for step in Sequence::random(random, common).steps {
            let command = step.command;
            if step.how == How::Plain
                && MAKERS.contains(&name(&command).as_str())
                && !command.iter().any(|arg| arg == b"BLOCK")
            {
                client.command(&command);
            }
        }
    }
    KEYS.iter().map(|key| (*key, client.line(&format!("DUMP {key}")))).collect()
}

fn restore(client: &mut Client, key: &str, payload: &Value) -> bool {
    let Value::Bulk(payload) = payload else { return false };
    let command: Action =
        vec![b"RESTORE".to_vec(), key.into(), b"0".to_vec(), payload.clone(), b"REPLACE".to_vec()];
    let reply = client.command(&command);
    assert_eq!(reply, Value::ok(), "{key}: {}", payload.escape_ascii());
    true
}

/// Everything observable about a key, without these fields.
fn shown(client: &mut Client, key: &str, without: &[&str]) -> Vec<String> {
    let lines: &[&str] = match client.line(&format!("TYPE {key}")).text().as_str() {
        "stream" => &["XLEN", "XRANGE - +", "XINFO FULL COUNT 0", "XINFO GROUPS", "XPENDING g", "XPENDING h"],
        _ => &["GET"],
    };
    let mut out = Vec::new();
    for line in lines {
        let mut words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["XINFO", "FULL", ..] => words.splice(1..1, ["STREAM", key]).for_each(drop),
            ["XINFO", _] => words.push(key),
            _ => words.insert(1, key),
        }
        out.push(format!("> {}", words.join(" ")));
        out.extend(stripped(client.command(&words), without).lines());
    }
    out
}

fn stripped(value: Value, without: &[&str]) -> Value {
    match value {
        Value::Map(pairs) => Value::Map(
            pairs
                .into_iter()
                .filter(|(key, _)| !without.contains(&key.text().as_str()))
                .map(|(key, value)| (key, stripped(value, without)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| stripped(item, without)).collect()),
        value => value,
    }
}

#[test]
fn what_redis_dumps_is_restored_here() {
    let Some(redis) = redis_server() else { return };
    let (from, to) = (Server::of(redis, &["--appendonly", "no"]), Server::of(binary_under_test(), &[]));
    let common = common_commands(&from, &to);
    let (mut from, mut to) = (from.connect3(), to.connect3());
    let mut random = Random::from_environment("dumps of Redis");
    let mut restored = 0;
    for number in 0..sequences() {
        for (key, payload) in make(&mut from, &mut random, &common) {
            if restore(&mut to, key, &payload) {
                restored += 1;
                let (left, right) = (shown(&mut from, key, OF_VERSIONS), shown(&mut to, key, OF_VERSIONS));
                assert_eq!(left, right, "sequence {number}");
            }
        }
    }
    assert!(restored > sequences(), "only {restored} values were there to dump");
}

#[test]
fn what_is_dumped_here_is_restored_by_redis() {
    let Some(redis) = redis_server() else { return };
    let (from, to) = (Server::of(binary_under_test(), &[]), Server::of(redis, &["--appendonly", "no"]));
    let common = common_commands(&from, &to);
    let (mut from, mut to) = (from.connect3(), to.connect3());
    let mut random = Random::from_environment("dumps for Redis");
    for number in 0..sequences() {
        let version = 9 + number % 2;
        from.line(&format!("CONFIG SET dump-rdb-version {version}"));
        let without = if version == 9 { [OF_VERSIONS, OF_REDIS_7].concat() } else { OF_VERSIONS.to_vec() };
        for (key, payload) in make(&mut from, &mut random, &common) {
            if restore(&mut to, key, &payload) {
                let (left, right) = (shown(&mut from, key, &without), shown(&mut to, key, &without));
                assert_eq!(left, right, "sequence {number}, version {version}");
            }
        }
    }
}

#[test]
fn what_is_dumped_here_is_restored_here() {
    let server = Server::of(binary_under_test(), &[]);
    let common = common_commands(&server, &server);
    let mut client = server.connect3();
    let mut random = Random::from_environment("dumps");
    for number in 0..sequences() {
        for (key, payload) in make(&mut client, &mut random, &common) {
            let before = shown(&mut client, key, &[]);
            if restore(&mut client, key, &payload) {
                assert_eq!(before, shown(&mut client, key, &[]), "sequence {number}");
            }
        }
    }
}
