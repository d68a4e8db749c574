//! The differences between two servers that are no faults, each with its reason. What is removed is removed from both sides.

use super::generate::Action;
use crate::support::value::Value;

/// Versions of the two sides: what changed between them is known to differ.
pub struct Known {
    crosses_7_2: bool,
    crosses_7_4: bool,
}

impl Known {
    pub fn between(left: (u32, u32), right: (u32, u32)) -> Known {
        let crosses = |version: (u32, u32)| (left < version) != (right < version);
        Known { crosses_7_2: crosses((7, 2)), crosses_7_4: crosses((7, 4)) }
    }

    /// Replies with what may differ made equal. Replies are told apart by the command they answer where every command has one reply;
    /// inside transactions, and where messages come between, by their shape.
    pub fn remove(&self, commands: &[Action], values: Vec<Value>) -> Vec<Value> {
        let in_order = values.len() == commands.len();
        let values = messages_sorted(values);
        let mut queued: Vec<&Action> = Vec::new();
        let mut out = Vec::new();
        for (at, value) in values.into_iter().enumerate() {
            let command = if in_order { commands.get(at) } else { None };
            let Some(command) = command else {
                // Messages among the replies: apply what does not depend on the command.
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
                ("EXEC" | "DISCARD", value) => {
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
        match name(command).as_str() {
            // Unordered in Redis: it walks a hash table.
            "KEYS" => sorted(value),
            "PUBSUB" if sub_name(command) == "CHANNELS" => sorted(value),
            "SCAN" => match value {
                Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
                value => value,
            },
            // A random key: only whether there is one.
            "RANDOMKEY" if !value.is_null() => Value::bulk("some key"),
            // Milliseconds left depend on when they are asked.
            "PTTL" => match value {
                Value::Integer(left) if left > 0 => Value::Integer(1),
                value => value,
            },
            "PEXPIRETIME" | "EXPIRETIME" => match value {
                Value::Integer(left) if left > 0 && left < 20_000_000_000_000 => Value::Integer(1),
                value => value,
            },
            // Idle times run while the test does.
            "XPENDING" => pending_without_idle(value),
            "XINFO" => self.info(value),
            // Redis keeps the outcome of INCRBYFLOAT as text even where it is an integer (its replicas do not).
            "OBJECT" if value == Value::bulk("int") => Value::bulk("embstr"),
            "XGROUP" if self.crosses_7_2 && sub_name(command) == "CREATECONSUMER" => match value {
                Value::Integer(_) => Value::Integer(0),
                value => value,
            },
            // 7.0 leaves errno as it was when it refuses `ms-*` for want of a sequence number, and words its reply by it.
            "XADD" if value.text().contains("Elements are too large to be stored") => Value::Error(
                b"ERR The ID specified in XADD is equal or smaller than the target stream top item".to_vec(),
            ),
            // 7.4 reads the last entry by `+`; before, it is an error.
            "XREAD" if self.crosses_7_4 && command.iter().any(|arg| arg == b"+") => Value::bulk("reads +"),
            _ => value,
        }
    }

    /// Texts and shapes that changed between versions, whatever the command.
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
            // 7.2 tells a destroyed group by NOGROUP where 7.0 said UNBLOCKED; the same while reading a key of another type.
            (self.crosses_7_2, "UNBLOCKED "),
        ];
        // Before 7.4 `+` was no id for XREADGROUP, and had no text of its own.
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

    /// XINFO: times run; fields came with versions; entries-read and lag were corrected in 7.2.6 and 7.4.1, and in 8.2 ENTRIESREAD is
    /// bounded by entries-added.
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
            // How many nodes a radix tree has depends on how its keys share their bytes; there is no such tree here.
            "radix-tree-nodes" => masked(),
            "entries-read" | "lag" if self.crosses_7_2 => masked(),
            // Before 7.2 a consumer that got nothing was not made.
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

/// Messages of one PUBLISH to several patterns: Redis walks its patterns in hash order.
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

/// True for a consumer of XINFO CONSUMERS or FULL that has nothing pending.
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

/// True for a flat RESP2 map: names at even places, and the first of them one that XINFO uses.
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
