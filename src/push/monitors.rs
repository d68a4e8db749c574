//! MONITOR: streams every executed command to the monitors.
//!
//! A command is shown when it was executed; a write when it entered the open batch; the commands of a
//! transaction when it was applied, followed by EXEC. Commands with the flag `admin` or `skip_monitor` are
//! not shown, nor are secrets (`command::redact`).

use crate::command::redact;
use crate::command::spec::{Flags, Row};
use crate::model::args::Args;
use crate::model::reply::Reply;
use crate::net::address::Address;
use crate::net::connection::Connection;
use crate::net::connections::Connections;
use crate::push::push::Push;
use std::io::Write;
use std::rc::Rc;

impl Push {
    /// MONITOR of a connection without pending requests.
    pub fn monitor(&self, connections: &Connections, connection: &Rc<Connection>) -> Reply {
        if !connections.contains(connection.id) {
            // The connection was closed meanwhile, so no later event would remove it from the list.
            return Reply::OK;
        }
        let before = std::mem::replace(&mut connection.session.borrow_mut().is_monitoring, true);
        if !before {
            self.monitors.add(connection);
        }
        Reply::OK
    }

    #[cold]
    pub fn feed_monitors(
        &self,
        connections: &Connections,
        connection: &Connection,
        now_micros: u64,
        row: &Row,
        args: Args<'_>,
    ) {
        if row.flags.contains(Flags::ADMIN) || row.flags.contains(Flags::SKIP_MONITOR) {
            return;
        }
        let line = line(
            now_micros,
            connection.session.borrow().database,
            &match &connection.peer {
                Address::Ip(address) => address.to_string(),
                Address::Unix(path) => format!("unix:{path}"),
            },
            redact::shown(row, args),
        );
        let monitors = self.monitors.all();
        for monitor in monitors.iter().filter(|monitor| !monitor.is_closing()) {
            monitor.push(&line);
            // Monitor output has no backpressure, so the limits of subscribers apply.
            connections.cut_off_if_over_limit(monitor, true);
            connections.queue_flush(monitor);
        }
    }
}

/// `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"` (Redis `replicationFeedMonitors`).
fn line<'a>(now_micros: u64, database: u32, address: &str, args: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut line = Vec::new();
    let (seconds, micros) = (now_micros / 1_000_000, now_micros % 1_000_000);
    let _ = write!(line, "+{seconds}.{micros:06} [{database} {address}]");
    for arg in args {
        line.extend_from_slice(b" \"");
        for &byte in arg {
            match byte {
                b'\\' | b'"' => line.extend([b'\\', byte]),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                b'\t' => line.extend_from_slice(b"\\t"),
                0x07 => line.extend_from_slice(b"\\a"),
                0x08 => line.extend_from_slice(b"\\b"),
                b' '..=b'~' => line.push(byte),
                _ => drop(write!(line, "\\x{byte:02x}")),
            }
        }
        line.push(b'"');
    }
    line.extend_from_slice(b"\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Stage;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let args: [&[u8]; 3] = [b"SET", b"a b\n\"\x01\\\r\t", "\u{e9}".as_bytes()];
        let line = line(1_339_518_083_007_412, 3, "127.0.0.1:60866", args.into_iter());
        let expected = r#"+1339518083.007412 [3 127.0.0.1:60866] "SET" "a b\n\"\x01\\\r\t" "\xc3\xa9""#
            .to_owned()
            + "\r\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn a_monitor_sees_what_was_executed_without_secrets() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("MONITOR");
        bob.ask("CONFIG GET dir\nNOSUCH\nHELLO 3 AUTH default secret\nSELECT 3\nGET a");
        let told = ann.told();
        let seen: Vec<_> = told.split('+').skip(1).map(|line| &line[line.find(']').unwrap() + 1..]).collect();
        let address = &bob.connection.peer.to_string();
        let hello = r#" "HELLO" "3" "AUTH" "(redacted)" "(redacted)" "#;
        assert_eq!(seen, [hello, r#" "SELECT" "3" "#, r#" "GET" "a""#]);
        assert!(told.ends_with(&format!(r#"[3 {address}] "GET" "a""#)));
    }

    #[test]
    fn a_write_is_shown_once_although_its_client_is_slow_to_hear_of_it() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("MONITOR");
        bob.ask("MULTI\nSET a 1\nEXEC\nSET b 1");
        let told = ann.told();
        let names: Vec<_> = told.split('"').filter(|word| ["MULTI", "SET", "EXEC"].contains(word)).collect();
        assert_eq!(names, ["MULTI", "SET", "EXEC", "SET"]);
    }

    #[test]
    fn a_connection_that_is_gone_does_not_become_a_monitor() {
        let stage = Stage::new();
        let ann = stage.client();
        let connection = ann.connection.clone();
        ann.leave();
        let (push, connections) = (&stage.frontend.push, &stage.frontend.connections);
        assert_eq!(push.monitor(connections, &connection), Reply::OK);
        assert_eq!(push.monitors.len(), 0);
    }
}
