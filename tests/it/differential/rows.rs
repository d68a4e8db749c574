//! The rows of the command table against those of Redis 7.0: COMMAND's reply for each command that both know.

use crate::recorded::commands::{COLUMNS, rows};
use crate::support::reference::redis_server;
use crate::support::server::{Server, binary_under_test, is_redis};
use crate::support::value::Value;
use std::collections::BTreeMap;

/// Changes since 7.0: command, column, value in 7.0. (`recorded::commands` compares the current values with
/// the facts of 8.10, and also arguments and tips, which 7.0 names differently.)
const SINCE_7_0: &[(&str, &str, &str)] = &[
    ("client|pause", "since", "2.9.50"),
    ("command|getkeys", "arity", "-4"),
    ("command|getkeysandflags", "arity", "-4"),
    ("psubscribe", "flags", "loading noscript pubsub stale"),
    ("ssubscribe", "flags", "loading noscript pubsub stale"),
    ("subscribe", "flags", "loading noscript pubsub stale"),
    ("wait", "flags", "noscript"),
    ("wait", "ACL categories", "connection slow"),
    ("xread", "key specs", "STREAMS@1 -1/1/2 RO access"),
    ("xreadgroup", "key specs", "STREAMS@4 -1/1/2 RO access"),
];

#[test]
fn rows_are_those_of_redis() {
    let Some(redis) = redis_server() else { return };
    if is_redis(&binary_under_test()) {
        return;
    }
    let servers = [Server::start(), Server::of(redis, &["--appendonly", "no"])];
    let [ours, theirs] = servers.each_ref().map(columns);
    let mut failures = String::new();
    let mut expected = SINCE_7_0.to_vec();
    for (command, column) in ours.keys() {
        let Some(other) = theirs.get(&(command.clone(), *column)) else { continue };
        let own = &ours[&(command.clone(), *column)];
        if own == other {
            continue;
        }
        let changes = expected.len();
        expected.retain(|known| *known != (command, column, other));
        if expected.len() == changes {
            failures += &format!("{command}, {column}:\n  Redis     {other}\n  Headwater {own}\n");
        }
    }
    for change in expected {
        failures += &format!("no such difference: {change:?}\n");
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// The compared values of all commands of a server, by command and column.
fn columns(server: &Server) -> BTreeMap<(String, &'static str), String> {
    let mut columns = BTreeMap::new();
    for (name, row) in rows(server) {
        for (at, column) in
            COLUMNS.iter().enumerate().filter(|(_, column)| !["tips", "arguments"].contains(column))
        {
            columns.insert((name.clone(), *column), row[at].clone());
        }
    }
    key_positions(&server.connect3().line("COMMAND"), &mut columns);
    columns
}

/// First key, last key and step, the form before key specs.
fn key_positions(commands: &Value, columns: &mut BTreeMap<(String, &'static str), String>) {
    for command in commands.elements() {
        let fields = command.elements();
        let positions: Vec<String> = fields[3..6].iter().map(Value::text).collect();
        columns.insert((fields[0].text(), "key positions"), positions.join(" "));
        key_positions(&fields[9], columns);
    }
}
