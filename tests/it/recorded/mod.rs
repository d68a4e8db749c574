//! Replies as bytes, recorded from Redis 8.0.6 (tests/recorded): Headwater sends the same in both protocols.
//!
//! ```text
//! > XREAD STREAMS s $      a command on the first connection
//! >> PUBLISH a m           a command on a second one
//! <                        an unrequested value on the first connection, or a second reply
//! new                      a new connection in place of the first
//! 2 *-1|                   the reply of Redis over RESP2; `|` stands for CR LF
//! 3 _|                     the reply over RESP3, if it differs
//! 2! +OK|                  the reply of Headwater, if it differs; compat/differences.md must give a reason
//! 3! +OK|                  the same over RESP3
//! ```
//! In a reply `<int>` stands for any digits, `...` for anything, `\n` for a lone line feed. The prefix
//! `any order: ` compares the elements of an array or set in any order. The prefix `fields: ` lists names,
//! each of which begins a line of the actual text (`2! without: ` lists the absent ones). `(nothing)`: there
//! is no reply.

pub mod commands;
mod differences;
mod pattern;

use crate::support::client::{Client, PATIENCE};
use crate::support::notation::{encode, split};
use crate::support::server::Server;
use differences::Differences;
use std::path::PathBuf;

/// The recordings, and the protocols of each.
const RECORDINGS: &[(&str, &[u8])] = &[
    ("errors", &[2, 3]),
    ("streams", &[2, 3]),
    ("misc", &[2, 3]),
    ("pubsub", &[2, 3]),
    ("connection", &[2]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    First,
    Second,
    Unasked,
    New,
}

/// A command and its permitted replies.
#[derive(Debug)]
struct Step {
    from: From,
    command: String,
    recorded: [Option<String>; 2],
    own: [Option<String>; 2],
}

impl Step {
    fn recorded(&self, protocol: u8) -> &str {
        of(&self.recorded, protocol).unwrap_or_else(|| panic!("no recorded reply to {}", self.command))
    }

    fn own(&self, protocol: u8) -> Option<&str> {
        of(&self.own, protocol)
    }
}

fn of(replies: &[Option<String>; 2], protocol: u8) -> Option<&str> {
    let [two, three] = replies;
    if protocol == 3 { three.as_deref().or(two.as_deref()) } else { two.as_deref() }
}

#[test]
fn replies_are_those_recorded() {
    let mut differences = Differences::read();
    let mut failures = String::new();
    for (name, protocols) in RECORDINGS {
        let steps = read(name);
        let server = Server::start();
        if server.is_partitioned() {
            return;
        }
        let mut is_as_recorded = vec![true; steps.len()];
        for &protocol in *protocols {
            let connect = || if protocol == 3 { server.connect3() } else { server.connect() };
            let mut clients = [connect(), connect()];
            clients[0].line("FLUSHALL");
            for (at, step) in steps.iter().enumerate() {
                if step.from == From::New {
                    clients[0] = connect();
                    continue;
                }
                let wanted = step.recorded(protocol);
                let got = ask(&mut clients, step, wanted == "(nothing)");
                if pattern::matches(wanted, &got) {
                    continue;
                }
                is_as_recorded[at] = false;
                let reason = differences.allows(&step.command);
                let own = step.own(protocol);
                if reason && own.is_some_and(|own| pattern::matches_own(own, wanted, &got)) {
                    continue;
                }
                failures += &format!("{name}, RESP{protocol} > {}\n  recorded {wanted}\n", step.command);
                if let Some(own) = own {
                    failures += &format!("  own      {own}\n");
                }
                failures += &match pattern::missing_fields(wanted, &got) {
                    Some(missing) => format!("  got      without: {}\n", missing.join(" ")),
                    None => format!("  got      {got}\n"),
                };
                if !reason {
                    failures += "  and compat/differences.md gives no reason for a difference\n";
                }
            }
        }
        for (step, _) in
            steps.iter().zip(is_as_recorded).filter(|(step, same)| *same && step.own[0].is_some())
        {
            failures += &format!(
                "{name} > {}\n  is as recorded now: take `2!` and `3!` out of tests/recorded/{name}.txt\n",
                step.command
            );
        }
    }
    for command in differences.unused() {
        failures += &format!("`{command}` is as recorded now: take it out of compat/differences.md\n");
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn read(name: &str) -> Vec<Step> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recorded/{name}.txt"));
    let text = std::fs::read_to_string(&path).expect("the recording");
    let mut steps: Vec<Step> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let place = || format!("{}, line {}: {line}", path.display(), at + 1);
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let step = match line.split_once(' ') {
            None if line == "new" => Some((From::New, String::new())),
            // Reported with the command before it.
            None if line == "<" => Some((From::Unasked, steps.last().expect("a command").command.clone())),
            Some((">", command)) => Some((From::First, command.to_owned())),
            Some((">>", command)) => Some((From::Second, command.to_owned())),
            _ => None,
        };
        if let Some((from, command)) = step {
            steps.push(Step { from, command, recorded: [None, None], own: [None, None] });
            continue;
        }
        let step = steps.last_mut().unwrap_or_else(|| panic!("a reply to nothing: {}", place()));
        let (kind, reply) = line.split_once(' ').unwrap_or_else(|| panic!("no reply: {}", place()));
        let reply = reply.to_owned();
        let slot = match kind {
            "2" => &mut step.recorded[0],
            "3" => &mut step.recorded[1],
            "2!" => &mut step.own[0],
            "3!" => &mut step.own[1],
            _ => panic!("neither command nor reply: {}", place()),
        };
        assert!(slot.replace(reply).is_none(), "a second reply: {}", place());
    }
    steps
}

/// The reply as one line; for a missing one, the error in brackets.
fn ask(clients: &mut [Client; 2], step: &Step, nothing: bool) -> String {
    let client = &mut clients[usize::from(step.from == From::Second)];
    if step.from != From::Unasked {
        let mut bytes = Vec::new();
        encode(&split(&step.command), &mut bytes);
        client.send_bytes(&bytes).expect("a command sent");
    }
    if nothing {
        // The next reply shows whether this is true.
        return "(nothing)".to_owned();
    }
    match client.receive_bytes(PATIENCE) {
        Ok(reply) => String::from_utf8_lossy(&reply).replace("\r\n", "|").replace('\n', "\\n"),
        Err(error) => format!("({error})"),
    }
}
