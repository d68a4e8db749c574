//! The accepted differences between two servers, each with its reason. They are removed from both sides.

use super::generate::{Action, Common};
use super::run::closed;
use crate::support::keys::key_places;
use crate::support::value::Value;

/// The versions of both sides: known changes between versions are accepted.
pub struct Known {
    crosses_7_2: bool,
    crosses_7_4: bool,
    /// Commands known to both; replies about other commands are removed.
    common: Common,
}

/// Redis's sections of INFO.
const SECTIONS: [&str; 12] = [
    "# Server",
    "# Clients",
    "# Memory",
    "# Persistence",
    "# Stats",
    "# Replication",
    "# CPU",
    "# Modules",
    "# Commandstats",
    "# Errorstats",
    "# Cluster",
    "# Keyspace",
];

/// Fields of CLIENT INFO that depend neither on the process nor on the current transaction.
const CLIENT_FIELDS: [&str; 7] = ["name", "db", "sub", "psub", "cmd", "user", "redir"];

impl Known {
    pub fn between(left: (u32, u32), right: (u32, u32), common: Common) -> Known {
        let crosses = |version: (u32, u32)| (left < version) != (right < version);
        Known { crosses_7_2: crosses((7, 2)), crosses_7_4: crosses((7, 4)), common }
    }

    /// Whether a blocked read was answered for a key that it found empty: 7.0 did, while 7.2 waits on, and may
    /// have been answered later.
    pub fn is_answered_too_early(&self, value: &Value) -> bool {
        let is_empty = |entries: &Value| entries.elements().is_empty();
        self.crosses_7_2
            && match value {
                Value::Map(streams) => streams.iter().all(|(_, entries)| is_empty(entries)),
                Value::Array(streams) => streams.iter().all(|stream| is_empty(&stream.elements()[1])),
                _ => false,
            }
    }

    /// The reply to a blocked read. 7.2 executes the whole read again, while 7.0 looked at one key: it could
    /// find that key empty, and reported one of two keys that had changed. The reply for a vanished group or
    /// key changed as well.
    pub fn remove_from_blocked(&self, command: &Action, value: Value) -> Value {
        if !self.crosses_7_2 {
            return value;
        }
        match &value {
            Value::Error(text)
                if ["UNBLOCKED", "NOGROUP", "WRONGTYPE"]
                    .iter()
                    .any(|word| text.starts_with(word.as_bytes())) =>
            {
                Value::Error(b"no longer there".to_vec())
            }
            Value::Map(_) | Value::Array(_) if key_places(command).len() > 1 => Value::bulk("some entries"),
            _ => value,
        }
    }

    /// Equalises the accepted differences in replies. Replies are matched to their commands if every command
    /// has one reply; inside transactions, and between messages, they are matched by shape.
    pub fn remove(&self, commands: &[Action], values: Vec<Value>) -> Vec<Value> {
        // CLIENT REPLY SKIP has no reply, and neither has the next command.
        let mut answered = commands.iter();
        let mut commands = Vec::new();
        while let Some(command) = answered.next() {
            let words: Vec<String> =
                command.iter().map(|arg| String::from_utf8_lossy(arg).to_uppercase()).collect();
            if words == ["CLIENT", "REPLY", "SKIP"] {
                answered.next();
            } else {
                commands.push(command);
            }
        }
        // A closed connection has fewer replies; messages add more.
        let replies = values.iter().filter(|value| **value != closed()).count();
        let in_order = replies <= commands.len();
        let values = messages_sorted(values);
        let mut queued: Vec<&Action> = Vec::new();
        let mut out = Vec::new();
        for (at, value) in values.into_iter().enumerate() {
            let command = if in_order { commands.get(at).copied() } else { None };
            let Some(command) = command else {
                // With messages among the replies, only rules that do not depend on the command apply.
                out.push(self.anywhere(value));
                continue;
            };
            if value == Value::Simple(b"QUEUED".to_vec()) {
                queued.push(command);
                out.push(value);
                continue;
            }
            match (name(command).as_str(), value) {
                ("EXEC", Value::Array(items)) if items.len() == queued.len() => {
                    let items =
                        queued.drain(..).zip(items).map(|(command, item)| self.of(command, item)).collect();
                    out.push(Value::Array(items));
                }
                ("EXEC" | "DISCARD" | "RESET", value) => {
                    queued.clear();
                    out.push(value);
                }
                (_, value) => out.push(self.of(command, value)),
            }
        }
        out
    }

    fn of(&self, command: &Action, value: Value) -> Value {
        let value = self.anywhere(value);
        // Before 8.0, a read's keys were found without regard to its other arguments.
        if name(command) == "COMMAND" && sub_name(command).starts_with("GETKEYS") && self.crosses_7_4 {
            let read = &command[2..];
            if name(&read.to_vec()).starts_with("XREAD") && !is_regular_read(read) {
                return Value::bulk("keys of an irregular read");
            }
        }
        if value.is_error() && !["XADD", "XREAD"].contains(&name(command).as_str()) {
            return value;
        }
        if sub_name(command) == "HELP" {
            // Same meaning, other words.
            return value.elements().first().cloned().unwrap_or(value);
        }
        match name(command).as_str() {
            // Unordered in Redis, which iterates over a hash table.
            "KEYS" => sorted(value),
            "PUBSUB" if sub_name(command).ends_with("CHANNELS") => sorted(value),
            "CLIENT" => self.client(command, value),
            "COMMAND" => self.command(command, value),
            "CONFIG" if sub_name(command) == "GET" => match value {
                Value::Array(items) => {
                    let mut pairs: Vec<_> = items.chunks_exact(2).map(<[Value]>::to_vec).collect();
                    pairs.sort_by_key(|pair| pair[0].text());
                    Value::Array(pairs.concat())
                }
                Value::Map(mut pairs) => {
                    pairs.sort_by_key(|(name, _)| name.text());
                    Value::Map(pairs)
                }
                value => value,
            },
            "HELLO" => without_fields(value, &["version", "id", "modules"]),
            "INFO" => {
                let text = value.text();
                let headings: Vec<&str> = text.lines().filter(|line| SECTIONS.contains(line)).collect();
                same_kind(&value, &headings.join(", "))
            }
            // Run-time values, and each server's own texts.
            "TIME" | "LASTSAVE" | "LOLWUT" => same_kind(&value, "it depends"),
            "ROLE" => match value {
                Value::Array(items) => Value::Array(vec![items[0].clone(), items[2].clone()]),
                value => value,
            },
            "MEMORY" | "FUNCTION" if !value.is_null() => same_kind(&value, "it depends"),
            "LATENCY" if sub_name(command) == "DOCTOR" => same_kind(&value, "it depends"),
            "SLOWLOG" if sub_name(command) == "LEN" => same_kind(&value, "it depends"),
            // The values are neither measured nor shared.
            "OBJECT"
                if ["IDLETIME", "REFCOUNT"].contains(&sub_name(command).as_str()) && !value.is_null() =>
            {
                same_kind(&value, "it depends")
            }
            "SCAN" => match value {
                Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
                value => value,
            },
            // A random key: compares only its existence.
            "RANDOMKEY" if !value.is_null() => Value::bulk("some key"),
            // The remaining milliseconds depend on the time of the request.
            "PTTL" => match value {
                Value::Integer(left) if left > 0 => Value::Integer(1),
                value => value,
            },
            "PEXPIRETIME" | "EXPIRETIME" => match value {
                Value::Integer(left) if left > 0 && left < 20_000_000_000_000 => Value::Integer(1),
                value => value,
            },
            // Idle times grow during the test.
            "XPENDING" => pending_without_idle(value),
            "XINFO" => self.info(value),
            // Redis stores the result of INCRBYFLOAT as text even if it is an integer (its replicas do not).
            "OBJECT" if value == Value::bulk("int") => Value::bulk("embstr"),
            "XGROUP" if self.crosses_7_2 && sub_name(command) == "CREATECONSUMER" => match value {
                Value::Integer(_) => Value::Integer(0),
                value => value,
            },
            // When 7.0 refuses `ms-*` for want of a sequence number, its reply depends on a stale errno.
            "XADD" if value.text().contains("Elements are too large to be stored") => Value::Error(
                b"ERR The ID specified in XADD is equal or smaller than the target stream top item".to_vec(),
            ),
            // Since 7.4 `+` reads the last entry; before, it is an error.
            "XREAD" if self.crosses_7_4 && command.iter().any(|arg| arg == b"+") => Value::bulk("reads +"),
            _ => value,
        }
    }

    fn client(&self, command: &Action, value: Value) -> Value {
        match sub_name(command).as_str() {
            "ID" => same_kind(&value, "it depends"),
            "INFO" => {
                let text = value.text();
                let is_kept =
                    |field: &&str| CLIENT_FIELDS.contains(&field.split('=').next().unwrap_or_default());
                let fields: Vec<&str> = text.trim().split(' ').filter(is_kept).collect();
                same_kind(&value, &fields.join(" "))
            }
            "LIST" => {
                let text = value.text();
                same_kind(&value, if text.trim().is_empty() { "none" } else { "some" })
            }
            _ => value,
        }
    }

    /// The replies of COMMAND, limited to commands known to both; another test compares the rows themselves.
    fn command(&self, command: &Action, value: Value) -> Value {
        let is_common = |name: &Value| self.common.contains(&name.text());
        match (sub_name(command).as_str(), value) {
            ("COUNT", value) => same_kind(&value, "it depends"),
            ("LIST", Value::Array(names)) => {
                sorted(Value::Array(names.into_iter().filter(is_common).collect()))
            }
            ("DOCS", value) => {
                let names = value.elements().into_iter().step_by(2).filter(is_common).collect();
                sorted(Value::Array(names))
            }
            ("INFO" | "", Value::Array(rows)) => {
                let name = |row: Value| if row.is_null() { row } else { row.elements()[0].clone() };
                let names = rows.into_iter().map(name).filter(|name| name.is_null() || is_common(name));
                // Without names the order is that of a hash table.
                if command.len() > 2 {
                    Value::Array(names.collect())
                } else {
                    sorted(Value::Array(names.collect()))
                }
            }
            (_, value) => value,
        }
    }

    /// Texts and shapes that changed between versions, for any command.
    fn anywhere(&self, value: Value) -> Value {
        match value {
            Value::Error(text) => Value::Error(self.text(text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.anywhere(item)).collect()),
            value => value,
        }
    }

    fn text(&self, text: Vec<u8>) -> Vec<u8> {
        let known: &[(bool, &str)] = &[
            // 7.4 names `+` in this text.
            (self.crosses_7_4, "ERR Unbalanced "),
            // 7.2 reports a destroyed group with NOGROUP where 7.0 used UNBLOCKED; likewise for a key of
            // another type.
            (self.crosses_7_2, "UNBLOCKED "),
        ];
        // Before 7.4 `+` was an invalid id for XREADGROUP, without a text of its own.
        if self.crosses_7_4 && text.starts_with(b"ERR The + ID is meaningless") {
            return b"ERR Invalid stream ID specified as stream command argument".to_vec();
        }
        for (applies, prefix) in known {
            if *applies && text.starts_with(prefix.as_bytes()) {
                return prefix.as_bytes().to_vec();
            }
        }
        text
    }

    /// XINFO: times change; versions added fields; 7.2.6 and 7.4.1 corrected entries-read and lag, and 8.2
    /// caps ENTRIESREAD at entries-added.
    fn info(&self, value: Value) -> Value {
        match value {
            Value::Map(pairs) => {
                Value::Map(pairs.into_iter().filter_map(|(key, value)| self.info_field(key, value)).collect())
            }
            Value::Array(items) if is_pairs(&items) => {
                let mut flat = Vec::new();
                for pair in items.chunks_exact(2) {
                    if let Some((key, value)) = self.info_field(pair[0].clone(), pair[1].clone()) {
                        flat.extend([key, value]);
                    }
                }
                Value::Array(flat)
            }
            Value::Array(items) => {
                let items = items.into_iter().filter(|item| !self.crosses_7_2 || !has_nothing_pending(item));
                Value::Array(items.map(|item| self.info(item)).collect())
            }
            value => value,
        }
    }

    fn info_field(&self, key: Value, value: Value) -> Option<(Value, Value)> {
        let masked = || Value::Integer(0);
        let text = key.text();
        let value = match text.as_str() {
            "idle" | "seen-time" | "inactive" | "active-time" => masked(),
            // The number of radix tree nodes depends on the bytes that keys share; this server has no such
            // tree.
            "radix-tree-nodes" => masked(),
            "entries-read" | "lag" if self.crosses_7_2 => masked(),
            // Before 7.2 a consumer that received nothing was not created.
            "consumers" if self.crosses_7_2 && matches!(value, Value::Integer(_)) => masked(),
            "pending" => match value {
                Value::Array(items) => Value::Array(items.into_iter().map(pending_without_time).collect()),
                value => value,
            },
            "entries" | "first-entry" | "last-entry" => value,
            _ => self.info(value),
        };
        let is_new = match text.as_str() {
            "inactive" | "active-time" => self.crosses_7_2,
            "nacked-count" => self.crosses_7_4,
            name => {
                self.crosses_7_4 && ["idmp-", "iids-", "pids-"].iter().any(|prefix| name.starts_with(prefix))
            }
        };
        (!is_new).then_some((key, value))
    }
}

/// Messages of one PUBLISH to several patterns: Redis iterates over patterns in hash order.
fn messages_sorted(mut values: Vec<Value>) -> Vec<Value> {
    let subject = |value: &Value| match value {
        Value::Array(items) | Value::Push(items)
            if items.len() == 4 && items[0] == Value::bulk("pmessage") =>
        {
            Some((items[2].clone(), items[3].clone()))
        }
        _ => None,
    };
    for run in values.chunk_by_mut(|left, right| subject(left).is_some() && subject(left) == subject(right)) {
        run.sort_by_key(|value| value.elements().get(1).map(Value::text));
    }
    values
}

/// An XREAD or XREADGROUP with known options and equal numbers of ids and keys.
fn is_regular_read(read: &[Vec<u8>]) -> bool {
    let mut at = 1;
    while let Some(word) = read.get(at) {
        at += match word.as_slice() {
            b"COUNT" | b"BLOCK" => 2,
            b"GROUP" => 3,
            b"NOACK" => 1,
            b"STREAMS" => return (read.len() - at) % 2 == 1 && read.len() > at + 1,
            _ => return false,
        };
    }
    false
}

/// True for a consumer in XINFO CONSUMERS or FULL without pending entries.
fn has_nothing_pending(value: &Value) -> bool {
    let fields: Vec<(String, &Value)> = match value {
        Value::Map(pairs) => pairs.iter().map(|(key, value)| (key.text(), value)).collect(),
        Value::Array(items) if is_pairs(items) => {
            items.chunks_exact(2).map(|pair| (pair[0].text(), &pair[1])).collect()
        }
        _ => return false,
    };
    let is_group = fields.iter().any(|(name, _)| name == "last-delivered-id");
    let is_empty = |(name, value): &(String, &Value)| {
        (name == "pending" || name == "pel-count") && **value == Value::Integer(0)
    };
    !is_group && fields.iter().any(is_empty)
}

/// True for a flat RESP2 map: names at even positions, the first of them one of XINFO's.
fn is_pairs(items: &[Value]) -> bool {
    items.len().is_multiple_of(2)
        && items.first().is_some_and(|first| *first == Value::bulk("name") || *first == Value::bulk("length"))
}

/// `[id, owner, idle, count]` of XPENDING without its idle time.
fn pending_without_idle(value: Value) -> Value {
    let Value::Array(items) = value else { return value };
    let mask = |item| match item {
        Value::Array(mut parts) if parts.len() == 4 && matches!(parts[2], Value::Integer(_)) => {
            parts[2] = Value::Integer(0);
            Value::Array(parts)
        }
        item => item,
    };
    Value::Array(items.into_iter().map(mask).collect())
}

/// `[id, owner, time, count]` or `[id, time, count]` of XINFO STREAM FULL without its delivery time.
fn pending_without_time(value: Value) -> Value {
    let Value::Array(mut parts) = value else { return value };
    let time = parts.len().saturating_sub(2);
    if let Some(part @ Value::Integer(_)) = parts.get_mut(time) {
        *part = Value::Integer(0);
    }
    Value::Array(parts)
}

/// A value of the same kind with fixed content.
fn same_kind(value: &Value, content: &str) -> Value {
    match value {
        Value::Bulk(_) => Value::bulk(content),
        Value::Verbatim(_) => Value::Verbatim(content.as_bytes().to_vec()),
        Value::Integer(_) => Value::Integer(0),
        Value::Array(_) => Value::Array(vec![Value::bulk(content)]),
        Value::Map(_) => Value::Map(vec![(Value::bulk(content), Value::Null)]),
        value => value.clone(),
    }
}

fn without_fields(value: Value, names: &[&str]) -> Value {
    let is_kept = |name: &Value| !names.contains(&name.text().as_str());
    match value {
        Value::Map(pairs) => Value::Map(pairs.into_iter().filter(|(name, _)| is_kept(name)).collect()),
        Value::Array(items) => {
            Value::Array(items.chunks_exact(2).filter(|pair| is_kept(&pair[0])).flatten().cloned().collect())
        }
        value => value,
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(mut items) => {
            items.sort_by_key(Value::text);
            Value::Array(items)
        }
        value => value,
    }
}

fn name(command: &Action) -> String {
    command.first().map(|name| String::from_utf8_lossy(name).to_uppercase()).unwrap_or_default()
}

fn sub_name(command: &Action) -> String {
    command.get(1).map(|name| String::from_utf8_lossy(name).to_uppercase()).unwrap_or_default()
}
