//! Random commands over a small universe of keys, ids, groups and fields, so that commands affect each other.
//!
//! Left out, because the servers rightly reply differently: automatic ids and other clocks, commands that
//! only one server knows, sub-commands of later versions. IDLE fixes idle times, so that nothing depends on
//! the speed of the test.

use super::run::{BLOCKED, COMMANDING, SUBSCRIBERS};
use crate::support::random::Random;
use std::collections::BTreeSet;

/// A command's arguments.
pub type Action = Vec<Vec<u8>>;

/// The handling of a command besides sending it and reading its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Plain,
    /// SCAN: repeated with the returned cursors to the end; the keys of all replies are compared.
    ToTheEnd,
    /// On the blocking connection; its reply is read after everything else, or before the next such command.
    Blocks,
    /// PEXPIRE: an EXISTS follows after the key's time has passed.
    Expires,
}

#[derive(Clone)]
pub struct Step {
    pub connection: usize,
    pub command: Action,
    pub how: How,
}

#[derive(Clone)]
pub struct Sequence {
    pub steps: Vec<Step>,
}

/// Full names of the commands that both servers know (`xadd`, `xgroup|create`): only these are sent, plus
/// unknown ones.
pub type Common = BTreeSet<String>;

const STREAMS: &[&str] = &["s", "t", "u"];
const KEYS: &[&str] = &["s", "t", "u", "k", "n", "x"];
pub(super) const STRINGS: &[&str] = &["k", "n", "k", "x", "s"];
pub(super) const GROUPS: &[&str] = &["g", "g", "g", "h", "none"];
pub(super) const CONSUMERS: &[&str] = &["c", "d", "e"];
pub(super) const FIELDS: &[&str] = &["a", "b", "a", "", "\u{e9}", "long-field-name"];
pub(super) const PATTERNS: &[&str] = &["*", "n*", "c?", "[cn]*", "\\*", "s", "[^c]*", "h[a-z"];
/// Ids at and beside every boundary; most sequences use small ones.
const ODD_IDS: &[&str] = &[
    "0",
    "0-0",
    "0-1",
    "-",
    "+",
    "$",
    "*",
    ">",
    "(",
    "(1-1",
    "(2",
    "(-",
    "(+",
    "1",
    "2-",
    "-1",
    "5-5-5",
    "abc",
    "",
    "2-*",
    "18446744073709551615",
    "18446744073709551615-18446744073709551615",
    "18446744073709551616-0",
    "1-18446744073709551615",
    "(18446744073709551615-18446744073709551615",
    "(0-0",
    "01-02",
    " 1-1",
];
const ODD_NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "abc",
    "",
    "1.5",
    "+1",
    " 1",
    "01",
    "18446744073709551615",
    "4294967296",
    "2147483648",
];

pub(super) struct Maker<'a> {
    pub(super) random: &'a mut Random,
    /// Grows with the added entries, so that most explicit ids are above the last.
    pub(super) next_ms: u64,
    steps: Vec<Step>,
}

impl Sequence {
    pub fn random(random: &mut Random, common: &Common) -> Sequence {
        let length = 4 + random.below(28);
        let mut maker = Maker { random, next_ms: 1, steps: Vec::new() };
        if maker.random.one_in(12) {
            maker.many_entries();
        }
        let mut connection = 0;
        while maker.steps.len() < length {
            if maker.random.one_in(6) {
                connection = maker.random.below(COMMANDING);
            }
            match maker.random.below(48) {
                0 | 1 => maker.transaction(connection),
                2 => maker.watched(),
                3 | 4 => maker.subscription(),
                5 | 6 => {
                    let command = maker.publication();
                    maker.push(connection, command);
                }
                7 | 8 => maker.server(connection),
                9 => maker.blocked(),
                10 if maker.random.one_in(4) => maker.expired(connection),
                11 if maker.random.one_in(2) => maker.scanned(connection),
                12 if maker.random.one_in(4) => maker.skipped(connection),
                _ => {
                    let command = maker.command();
                    maker.push(connection, command);
                }
            }
        }
        let mut steps = maker.steps;
        let is_known = |command: &Action| {
            let name = full_name(command);
            common.contains(&name) || !is_of_redis(&name)
        };
        steps.retain(|step| is_known(&step.command));
        leave_out_what_is_trimmed_at_once(&mut steps);
        Sequence { steps }
    }

    /// The commands in runs of one connection each. A run never leaves a transaction open; the subscribers
    /// are read after each run that may have sent them messages. No connection is killed in a run that has
    /// published: Redis withdraws unsent messages, while Headwater may have sent them, so a kill starts a new
    /// run (and is left out in a transaction).
    pub fn exchanges(&self) -> Vec<(usize, How, Vec<Action>)> {
        let mut runs: Vec<(usize, How, Vec<Action>)> = Vec::new();
        for step in &self.steps {
            match runs.last_mut() {
                Some((connection, How::Plain, commands))
                    if *connection == step.connection && step.how == How::Plain =>
                {
                    let kills_after_publishing = is_kill(&step.command) && commands.iter().any(is_publish);
                    if !kills_after_publishing {
                        commands.push(step.command.clone());
                    } else if !commands.iter().any(is_multi) {
                        runs.push((step.connection, step.how, vec![step.command.clone()]));
                    }
                }
                _ => runs.push((step.connection, step.how, vec![step.command.clone()])),
            }
        }
        let mut out = Vec::new();
        for (connection, how, mut commands) in runs {
            // Its command is in another run, or was removed when the sequence was shortened.
            if commands.last().is_some_and(|command| *command == words("CLIENT REPLY SKIP")) {
                commands.pop();
            }
            if commands.iter().any(is_multi) {
                commands.push(words("DISCARD"));
            }
            let tells = commands.iter().any(|command| is_publish(command) || is_kill(command));
            out.push((connection, how, commands));
            if tells {
                out.extend(SUBSCRIBERS.map(|subscriber| (subscriber, How::Plain, Vec::new())));
            }
        }
        out
    }
}

/// 7.0 ends a wait when an entry was added, even if the entry was removed before any read: by XADD's
/// trimming, or inside a transaction.
fn leave_out_what_is_trimmed_at_once(steps: &mut Vec<Step>) {
    let (mut waits, mut is_queueing) = (false, false);
    steps.retain(|Step { command, how, .. }| {
        waits |= *how == How::Blocks;
        match command[0].as_slice() {
            b"MULTI" => is_queueing = true,
            b"EXEC" | b"DISCARD" | b"RESET" => is_queueing = false,
            _ => {}
        }
        let trims = match command[0].as_slice() {
            b"XADD" => command.iter().any(|arg| arg == b"MAXLEN" || arg == b"MINID"),
            b"XTRIM" | b"XDEL" => is_queueing,
            _ => false,
        };
        !(waits && trims)
    });
}

fn is_multi(command: &Action) -> bool {
    command[0] == b"MULTI"
}

fn is_publish(command: &Action) -> bool {
    command[0].ends_with(b"PUBLISH")
}

fn is_kill(command: &Action) -> bool {
    full_name(command) == "client|kill"
}

/// `xadd`, `xgroup|create`.
pub fn full_name(command: &Action) -> String {
    let part = |at: usize| String::from_utf8_lossy(command.get(at).map_or(b"", Vec::as_slice)).to_lowercase();
    let name = part(0);
    if CONTAINERS.contains(&name.as_str()) && command.len() > 1 {
        format!("{name}|{}", part(1))
    } else {
        name
    }
}

const CONTAINERS: &[&str] = &[
    "acl", "client", "command", "config", "function", "latency", "memory", "module", "object", "pubsub",
    "script", "slowlog", "xgroup", "xinfo",
];

/// Commands that the generator builds if both servers know them. Other names are there to be refused.
fn is_of_redis(name: &str) -> bool {
    let optional = ["acl", "latency", "slowlog"];
    optional.iter().any(|container| name.split('|').next() == Some(container))
        || ["dump", "restore", "move", "swapdb", "substr", "getrange", "setrange", "memory|stats"]
            .contains(&name)
}

pub(super) fn words(line: &str) -> Action {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

impl Maker<'_> {
    pub(super) fn push(&mut self, connection: usize, command: Action) {
        self.push_how(connection, How::Plain, command);
    }

    pub(super) fn push_how(&mut self, connection: usize, how: How, command: Action) {
        self.steps.push(Step { connection, command, how });
    }

    pub(super) fn of(&mut self, items: &[&str]) -> String {
        (*self.random.pick(items)).to_string()
    }

    pub(super) fn key(&mut self) -> String {
        if self.random.one_in(12) { self.of(KEYS) } else { self.of(STREAMS) }
    }

    pub(super) fn any_key(&mut self) -> String {
        self.of(KEYS)
    }

    /// A possible entry id.
    pub(super) fn id(&mut self) -> String {
        if self.random.one_in(10) {
            return self.of(ODD_IDS);
        }
        let ms = 1 + self.random.next() % (self.next_ms + 1);
        match self.random.below(4) {
            0 => format!("{ms}"),
            1 => format!("{ms}-{}", self.random.below(3)),
            _ => format!("{ms}-1"),
        }
    }

    pub(super) fn new_id(&mut self) -> String {
        match self.random.below(20) {
            0 => self.of(ODD_IDS).replace('*', "7"),
            1 => self.id().replace('*', "7"),
            2..=4 => format!("{}-*", self.next_ms),
            _ => {
                self.next_ms += self.random.next() % 2;
                format!("{}-{}", self.next_ms, 1 + self.random.below(3))
            }
        }
    }

    pub(super) fn number(&mut self, up_to: usize) -> String {
        if self.random.one_in(12) { self.of(ODD_NUMBERS) } else { self.random.below(up_to).to_string() }
    }

    pub(super) fn bound(&mut self) -> String {
        match self.random.below(6) {
            0 | 1 => "-".into(),
            2 => "+".into(),
            3 => format!("({}", self.id()),
            _ => self.id(),
        }
    }

    pub(super) fn value(&mut self) -> Vec<u8> {
        match self.random.below(8) {
            0 => self.of(ODD_NUMBERS).into_bytes(),
            1 => vec![0, 0xff, b'\r', b'\n'],
            2 => Vec::new(),
            3 => vec![b'v'; self.random.below(200)],
            _ => self.random.below(20).to_string().into_bytes(),
        }
    }

    /// Too few arguments, unknown names, stray words.
    pub(super) fn nonsense(&mut self) -> Action {
        let mut out = match self.random.below(4) {
            0 => words(&self.of(&[
                "FOO",
                "XGROUP BAD",
                "XINFO BAD s",
                "CLIENT BAD",
                "OBJECT BAD k",
                "PUBSUB BAD",
                "XADDX a",
            ])),
            _ => self.command_without_nonsense(),
        };
        match self.random.below(3) {
            0 if out.len() > 1 => {
                out.pop();
            }
            1 => push(&mut out, "BAD"),
            _ => {
                let at = self.random.below(out.len());
                let odd = self.of(ODD_NUMBERS);
                out.insert(at.max(1), odd.into_bytes());
            }
        }
        // A stray number must not make a bounded wait endless.
        out.retain(|arg| arg != b"BLOCK");
        out
    }

    fn command_without_nonsense(&mut self) -> Action {
        match self.random.below(3) {
            0 => self.add(),
            1 => self.stream(),
            _ => self.group(),
        }
    }

    fn transaction(&mut self, connection: usize) {
        self.push(connection, words("MULTI"));
        for _ in 0..self.random.below(6) {
            match self.random.below(12) {
                0 => {
                    let command = self.publication();
                    self.push(connection, command);
                }
                1 => {
                    self.server(connection);
                    // Headwater writes EXEC's whole reply in the protocol at its end, and asks for memory at
                    // its end.
                    self.steps.pop_if(|step| step.command[0] == b"HELLO" || step.command[0] == b"MEMORY");
                }
                _ => {
                    let command = self.command();
                    self.push(connection, command);
                }
            }
        }
        let end = self.of(&["EXEC", "EXEC", "EXEC", "EXEC", "DISCARD"]);
        self.push(connection, words(&end));
    }

    /// WATCH on one connection, a command on the other, then a transaction.
    fn watched(&mut self) {
        let key = self.any_key();
        self.push(0, words(&format!("WATCH {key}")));
        match self.random.below(6) {
            0..=2 => {
                let command = self.command();
                self.push(1, command);
            }
            3 => self.expired(1),
            _ => {}
        }
        if self.random.one_in(8) {
            self.push(0, words("UNWATCH"));
        }
        self.transaction(0);
    }

    /// A key with a passing deadline.
    fn expired(&mut self, connection: usize) {
        let key = self.any_key();
        self.push_how(connection, How::Expires, words(&format!("PEXPIRE {key} 1")));
    }

    /// All keys in steps.
    fn scanned(&mut self, connection: usize) {
        let count = self.of(&["", " COUNT 1", " COUNT 2", " COUNT 10"]);
        let filter = self.of(&["", "", " MATCH s*", " TYPE stream", " TYPE string", " MATCH [k-n]"]);
        self.push_how(connection, How::ToTheEnd, words(&format!("SCAN 0{filter}{count}")));
    }

    /// A blocked read, which the other connections' commands may serve.
    fn blocked(&mut self) {
        let key = self.key();
        let mut command = if self.random.one_in(2) {
            words(&self.of(&["XREAD BLOCK 0", "XREAD COUNT 1 BLOCK 0", "XREAD BLOCK 10000 COUNT 2"]))
        } else {
            let (group, consumer) = (self.of(GROUPS), self.of(CONSUMERS));
            if self.random.one_in(2) {
                self.push(0, words(&format!("XGROUP CREATE {key} {group} $ MKSTREAM")));
            }
            let options = self.of(&["", "", " NOACK", " COUNT 1", " COUNT 2 NOACK"]);
            words(&format!("XREADGROUP GROUP {group} {consumer}{options} BLOCK 0"))
        };
        let id = if command[0] == b"XREAD" { self.of(&["$", "$", "$", "1000"]) } else { ">".into() };
        let mut keys = vec![key];
        if self.random.one_in(4) {
            keys.push(self.key());
            keys.dedup();
        }
        push(&mut command, "STREAMS");
        keys.iter().for_each(|key| push(&mut command, key));
        keys.iter().for_each(|_| push(&mut command, &id));
        self.push_how(BLOCKED, How::Blocks, command);
    }
}

pub(super) fn push(out: &mut Action, word: &str) {
    out.push(word.as_bytes().to_vec());
}
