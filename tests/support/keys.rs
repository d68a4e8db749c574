//! Positions of the keys in commands, for hash tags: with a tag before each key, a server with several
//! partitions accepts any command and replies like one with a single partition.

use crate::support::notation::encode;
use crate::support::value::Value;

/// The tag that puts a test's keys into one slot. No test uses it otherwise, so it can be removed from
/// replies.
pub const TAG: &str = "{tag}";

/// The command with [`TAG`] before every key and key pattern.
pub fn tagged(args: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out = args.to_vec();
    for place in key_places(args).into_iter().chain(pattern_place(args)) {
        out[place].splice(0..0, TAG.bytes());
    }
    if name(args).ends_with("SUBSCRIBE") {
        // The channel of a key's events.
        for channel in out.iter_mut().filter(|arg| arg.starts_with(b"__keyspace@")) {
            if let Some(colon) = channel.iter().position(|byte| *byte == b':') {
                channel.splice(colon + 1..colon + 1, TAG.bytes());
            }
        }
    }
    out
}

/// Raw requests with tags before their keys; other bytes stay unchanged.
pub fn tagged_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some((line, length)) = inline(&bytes[at..]) {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        out.extend(tagged(&words).join(&b' '));
        out.extend(b"\r\n");
        at += length;
    }
    while let Ok(Some((Value::Array(items), length))) = Value::decode(&bytes[at..]) {
        let args: Option<Vec<Vec<u8>>> = items
            .into_iter()
            .map(|item| match item {
                Value::Bulk(bytes) => Some(bytes),
                _ => None,
            })
            .collect();
        let Some(args) = args.filter(|args| !args.is_empty()) else { break };
        // An unusually written request stays as it is, because its form is the test.
        let mut plain = Vec::new();
        encode(&args, &mut plain);
        if plain != bytes[at..at + length] {
            break;
        }
        encode(&tagged(&args), &mut out);
        at += length;
    }
    out.extend_from_slice(&bytes[at..]);
    out
}

/// The inline request at the front and its length, if it is written plainly.
fn inline(bytes: &[u8]) -> Option<(&str, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let is_plain = |word: &str| !word.is_empty() && !word.contains(['*', '"', '\'']);
    line.split(' ').all(is_plain).then_some((line, end + 2))
}

/// A line of a reply without the tag.
pub fn without_tag(line: &str) -> String {
    line.replace(TAG, "")
}

/// Positions of the keys among a command's arguments, for the commands of the tests.
pub fn key_places(args: &[Vec<u8>]) -> Vec<usize> {
    let places: Box<dyn Iterator<Item = usize>> = match name(args).as_str() {
        "XADD" | "XLEN" | "XRANGE" | "XREVRANGE" | "XDEL" | "XTRIM" | "XSETID" | "XACK" | "XPENDING"
        | "XCLAIM" | "XAUTOCLAIM" | "XDELEX" | "XACKDEL" | "XNACK" | "XCFGSET" | "XIDMPRECORD" | "SET"
        | "GET" | "APPEND" | "GETSET" | "SETNX" | "STRLEN" | "GETDEL" | "GETEX" | "INCR" | "DECR"
        | "INCRBY" | "DECRBY" | "INCRBYFLOAT" | "SETEX" | "PSETEX" | "GETRANGE" | "SETRANGE" | "SUBSTR"
        | "TYPE" | "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" | "TTL" | "PTTL" | "EXPIRETIME"
        | "PEXPIRETIME" | "PERSIST" | "DUMP" | "RESTORE" | "RESTORE-ASKING" | "MOVE" => Box::new(1..2),
        "DEL" | "UNLINK" | "EXISTS" | "TOUCH" | "MGET" | "WATCH" => Box::new(1..args.len()),
        "RENAME" | "RENAMENX" | "COPY" => Box::new(1..3),
        "MSET" | "MSETNX" => Box::new((1..args.len()).step_by(2)),
        "XGROUP" | "XINFO" | "OBJECT" => Box::new(2..3),
        "MEMORY" | "DEBUG" if ["USAGE", "OBJECT", "DIGEST-VALUE"].contains(&sub_name(args).as_str()) => {
            Box::new(2..3)
        }
        "XREAD" | "XREADGROUP" => {
            let after = args.iter().position(|arg| arg.eq_ignore_ascii_case(b"STREAMS"));
            let start = after.map_or(args.len(), |at| at + 1);
            Box::new(start..start + (args.len() - start) / 2)
        }
        _ => Box::new(std::iter::empty()),
    };
    places.filter(|place| *place < args.len()).collect()
}

fn pattern_place(args: &[Vec<u8>]) -> Option<usize> {
    match name(args).as_str() {
        "KEYS" => (args.len() == 2).then_some(1),
        "SCAN" => args
            .iter()
            .position(|arg| arg.eq_ignore_ascii_case(b"MATCH"))
            .map(|at| at + 1)
            .filter(|at| *at < args.len()),
        _ => None,
    }
}

/// Whether the command concerns every slot, whatever its arguments.
pub fn concerns_all_slots(args: &[Vec<u8>]) -> bool {
    ["DBSIZE", "KEYS", "SCAN", "RANDOMKEY", "FLUSHDB", "FLUSHALL", "SWAPDB"].contains(&name(args).as_str())
}

pub fn name(args: &[Vec<u8>]) -> String {
    args.first().map(|name| String::from_utf8_lossy(name).to_uppercase()).unwrap_or_default()
}

fn sub_name(args: &[Vec<u8>]) -> String {
    name(args.get(1..).unwrap_or_default())
}

#[test]
fn keys_are_tagged_and_nothing_else() {
    let line = |line: &str| crate::support::notation::join(&tagged(&crate::support::notation::split(line)));
    assert_eq!(
        line("XREADGROUP GROUP s s STREAMS s t > >"),
        "XREADGROUP GROUP s s STREAMS {tag}s {tag}t > >"
    );
    assert_eq!(line("MSET a a b b"), "MSET {tag}a a {tag}b b");
    assert_eq!(line("SCAN 0 MATCH *"), "SCAN 0 MATCH {tag}*");
    assert_eq!(line("XREAD COUNT 1"), "XREAD COUNT 1");
    let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n";
    assert_eq!(tagged_bytes(bytes), b"*2\r\n$3\r\nGET\r\n$6\r\n{tag}a\r\nPING\r\n");
    assert_eq!(tagged_bytes(b"SET a b\r\nGET  a\r\n"), b"SET {tag}a b\r\nGET  a\r\n");
    assert_eq!(line("SUBSCRIBE __keyspace@0__:a"), "SUBSCRIBE __keyspace@0__:{tag}a");
}
