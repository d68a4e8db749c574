//! Random commands on connections, channels and the server itself.

use super::generate::{Action, Maker, PATTERNS, STRINGS, push, words};
use super::run::SUBSCRIBERS;

pub(super) const CHANNELS: &[&str] = &["ch", "news", "s"];

impl Maker<'_> {
    /// Adds or removes a subscription; sometimes in a transaction, where RESP3 has pushes inside the reply.
    pub(super) fn subscription(&mut self) {
        let connection = *self.random.pick(&SUBSCRIBERS);
        let in_transaction = self.random.one_in(8);
        if in_transaction {
            self.push(connection, words("MULTI"));
        }
        for _ in 0..=self.random.below(2) {
            let (channel, pattern) = (self.of(CHANNELS), self.of(PATTERNS));
            // At most one name each and never "all": Redis orders several by a hash.
            let line = match self.random.below(12) {
                0..=3 => format!("SUBSCRIBE {channel}"),
                4 => format!("UNSUBSCRIBE {channel}"),
                5 | 6 => format!("PSUBSCRIBE {pattern}"),
                7 => format!("PUNSUBSCRIBE {pattern}"),
                8 | 9 => format!("SSUBSCRIBE {channel}"),
                10 => format!("SUNSUBSCRIBE {channel}"),
                _ => self.of(&["PING", "PING hi", "ECHO x", "GET k", "RESET x"]),
            };
            self.push(connection, words(&line));
        }
        if in_transaction {
            self.push(connection, words("EXEC"));
        }
    }

    pub(super) fn publication(&mut self) -> Action {
        let channel = self.of(CHANNELS);
        match self.random.below(10) {
            0 => words(&format!("PUBSUB NUMSUB {channel} none")),
            1 => words(&self.of(&[
                "PUBSUB NUMPAT",
                "PUBSUB CHANNELS",
                "PUBSUB CHANNELS n*",
                "PUBSUB SHARDCHANNELS",
                "PUBSUB SHARDCHANNELS n*",
                "PUBSUB SHARDNUMSUB",
                "PUBSUB HELP",
            ])),
            2 => words(&format!("PUBSUB SHARDNUMSUB {channel} none")),
            3 | 4 => {
                let mut out = words(&format!("SPUBLISH {channel}"));
                out.push(self.value());
                out
            }
            _ => {
                let mut out = words(&format!("PUBLISH {channel}"));
                out.push(self.value());
                out
            }
        }
    }

    /// A command about connections or the server.
    pub(super) fn server(&mut self, connection: usize) {
        let command = match self.random.below(10) {
            0 | 1 => words(&self.of(CLIENT)),
            2 | 3 => self.introspection(),
            4 => words(&self.of(CONFIG)),
            5 => self.object(),
            6 => words(&self.of(SERVER)),
            7 => words(&self.of(CONNECTION)),
            8 => words(&self.of(ABSENT)),
            _ => self.of_later_engineers(),
        };
        self.push(connection, command);
    }

    /// A command with suppressed reply.
    pub(super) fn skipped(&mut self, connection: usize) {
        self.push(connection, words("CLIENT REPLY SKIP"));
        let command = self.command();
        self.push(connection, command);
    }

    /// The keys of a possible command.
    fn introspection(&mut self) -> Action {
        if self.random.one_in(4) {
            return words(&self.of(COMMAND));
        }
        let mut out = words(&self.of(&["COMMAND GETKEYS", "COMMAND GETKEYSANDFLAGS"]));
        out.extend(self.command());
        if out.len() == 3 {
            // Too few arguments before 7.2.
            push(&mut out, "x");
        }
        out
    }

    fn object(&mut self) -> Action {
        let key = self.any_key();
        words(&match self.random.below(6) {
            0 => format!("OBJECT ENCODING {key}"),
            1 => format!("OBJECT REFCOUNT {key}"),
            2 => format!("OBJECT IDLETIME {key}"),
            3 => format!("OBJECT FREQ {key}"),
            4 => format!(
                "MEMORY USAGE {key}{}",
                self.of(&["", " SAMPLES 5", " SAMPLES 0", " SAMPLES abc", " BAD 1"])
            ),
            _ => self.of(&[
                "OBJECT HELP",
                "MEMORY HELP",
                "MEMORY DOCTOR",
                "MEMORY STATS",
                "MEMORY PURGE",
                "MEMORY MALLOC-STATS",
            ]),
        })
    }

    /// Commands that either side may lack: removed from the sequence in that case.
    fn of_later_engineers(&mut self) -> Action {
        let (key, other, value) = (self.any_key(), self.of(STRINGS), self.number(8));
        let mut out = words(&match self.random.below(6) {
            0 => format!("MOVE {key} {}", self.of(&["1", "0", "99", "abc"])),
            1 => self.of(&[
                "SWAPDB 0 1",
                "SWAPDB 1 0",
                "SWAPDB 0 0",
                "SWAPDB 0 99",
                "SWAPDB abc 0",
                "SWAPDB 0 abc",
            ]),
            2 => format!("GETRANGE {other} {value} {}", self.number(8)),
            3 => format!("SUBSTR {other} {value} {}", self.number(8)),
            4 => format!("SETRANGE {other} {} abc", self.of(&["0", "2", "9", "-1", "abc"])),
            _ => self.of(OPTIONAL),
        });
        if self.random.one_in(30) {
            push(&mut out, "BAD");
        }
        out
    }
}

const CLIENT: &[&str] = &[
    "CLIENT ID",
    "CLIENT INFO",
    "CLIENT LIST",
    "CLIENT LIST TYPE normal",
    "CLIENT LIST TYPE pubsub",
    "CLIENT LIST ID 999999",
    "CLIENT LIST BAD",
    "CLIENT SETNAME a",
    "CLIENT SETNAME a:b-c",
    "CLIENT GETNAME",
    "CLIENT GETREDIR",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKING off",
    "CLIENT CACHING yes",
    "CLIENT NO-EVICT on",
    "CLIENT NO-EVICT off",
    "CLIENT PAUSE 0",
    "CLIENT PAUSE 1 WRITE",
    "CLIENT PAUSE 1 BAD",
    "CLIENT UNPAUSE",
    "CLIENT REPLY ON",
    "CLIENT KILL TYPE pubsub",
    "CLIENT KILL TYPE replica",
    "CLIENT KILL ADDR 1.2.3.4:5",
    "CLIENT KILL LADDR 1.2.3.4:5 SKIPME no",
    "CLIENT KILL USER nobody",
    "CLIENT KILL ID 999999 SKIPME bad",
    "CLIENT UNBLOCK 999999 TIMEOUT",
    "CLIENT HELP",
];

const COMMAND: &[&str] = &[
    "COMMAND",
    "COMMAND COUNT",
    "COMMAND LIST",
    "COMMAND LIST FILTERBY PATTERN xr*",
    "COMMAND LIST FILTERBY PATTERN XGROUP*",
    "COMMAND LIST FILTERBY ACLCAT stream",
    "COMMAND LIST FILTERBY ACLCAT pubsub",
    "COMMAND LIST FILTERBY ACLCAT none",
    "COMMAND LIST FILTERBY MODULE none",
    "COMMAND LIST FILTERBY BAD x",
    "COMMAND LIST BAD",
    "COMMAND INFO",
    "COMMAND INFO none xadd xgroup",
    "COMMAND INFO xgroup|create xgroup|none",
    "COMMAND DOCS none xadd",
    "COMMAND DOCS xgroup|create",
    "COMMAND HELP",
    "COMMAND GETKEYS",
    "COMMAND GETKEYS PING x",
    "COMMAND GETKEYSANDFLAGS",
];

const CONFIG: &[&str] = &[
    "CONFIG GET databases",
    "CONFIG GET stream-node-max-*",
    "CONFIG GET maxmemory-policy timeout",
    "CONFIG GET slowlog-*",
    "CONFIG GET notify-keyspace-events",
    "CONFIG GET none",
    "CONFIG SET timeout 0",
    "CONFIG SET stream-node-max-entries 100 stream-node-max-bytes 4096",
    "CONFIG SET timeout abc",
    "CONFIG SET timeout -1",
    "CONFIG SET none 1 timeout 0",
    "CONFIG SET timeout 0 TIMEOUT 0",
    "CONFIG SET timeout 0 x",
    "CONFIG RESETSTAT",
    "CONFIG HELP",
];

const SERVER: &[&str] = &[
    "TIME",
    "LASTSAVE",
    "ROLE",
    "ROLE x",
    "LOLWUT",
    "LOLWUT VERSION 5",
    "INFO",
    "INFO server",
    "INFO SERVER clients",
    "INFO replication replication",
    "INFO none",
    "INFO none keyspace",
    "INFO commandstats",
    "INFO all",
    "INFO everything",
    "WAIT 0 0",
    "WAIT 0 1",
    "WAIT -1 0",
    "WAIT 0 -1",
    "SAVE",
    "BGSAVE BAD",
    "DBSIZE x",
    "FLUSHALL BAD",
    "FLUSHALL SYNC BAD",
    "FLUSHDB ASYNC",
    "FLUSHALL sync",
    "SHUTDOWN ABORT",
    "SHUTDOWN BAD",
    "SHUTDOWN SAVE NOSAVE",
];

const CONNECTION: &[&str] = &[
    "PING",
    "PING hi",
    "ECHO hi",
    "SELECT 1",
    "SELECT 0",
    "SELECT -1",
    "HELLO",
    "HELLO 2",
    "HELLO 3",
    "HELLO 3 SETNAME b",
    "HELLO 3 SETNAME",
    "HELLO 2 AUTH default x SETNAME c",
    "HELLO 3 BAD",
    "HELLO 3 AUTH a",
    "AUTH default",
    "AUTH a b c",
    "RESET",
    "QUIT",
    "UNWATCH",
    "DISCARD",
    "EXEC",
];

const ABSENT: &[&str] = &[
    "MODULE LIST",
    "MODULE HELP",
    "MODULE BAD",
    "SCRIPT FLUSH",
    "SCRIPT FLUSH ASYNC",
    "SCRIPT FLUSH BAD",
    "SCRIPT EXISTS a b",
    "SCRIPT HELP",
    "FUNCTION FLUSH",
    "FUNCTION FLUSH BAD",
    "FUNCTION LIST",
    "FUNCTION LIST LIBRARYNAME x WITHCODE",
    "FUNCTION LIST BAD",
    "FUNCTION STATS",
    "FUNCTION HELP",
    "XGROUP HELP",
    "XINFO HELP",
    "CLUSTER INFO",
    "CLUSTER NODES",
    "READONLY",
    "READWRITE",
    "ASKING",
];

const OPTIONAL: &[&str] = &[
    "SLOWLOG LEN",
    "SLOWLOG GET 0",
    "SLOWLOG GET -2",
    "SLOWLOG GET abc",
    "SLOWLOG RESET",
    "SLOWLOG HELP",
    "LATENCY LATEST",
    "LATENCY HISTORY command",
    "LATENCY HISTORY none",
    "LATENCY RESET none",
    "LATENCY GRAPH none",
    "LATENCY DOCTOR",
    "LATENCY HISTOGRAM none",
    "LATENCY HELP",
    "ACL WHOAMI",
    "ACL CAT none",
    "ACL HELP",
    "ACL GETUSER none",
    "ACL USERS",
    "DUMP none",
    "RESTORE k -1 x",
    "RESTORE k abc x",
    "RESTORE k 0 x",
    "RESTORE k 0 x IDLETIME -1",
    "RESTORE k 0 x FREQ 256",
    "RESTORE k 0 x BAD",
];
