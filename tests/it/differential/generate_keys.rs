//! Random commands on strings, and on keys of any type.

use super::generate::{Action, Maker, PATTERNS, STRINGS, push, words};

impl Maker<'_> {
    pub(super) fn string(&mut self) -> Action {
        let key = self.of(STRINGS);
        let value = self.value();
        let mut out;
        match self.random.below(16) {
            0..=3 => {
                out = words(&format!("SET {key}"));
                out.push(value);
                for _ in 0..self.random.below(3) {
                    let option = self.of(&[
                        "NX",
                        "XX",
                        "GET",
                        "KEEPTTL",
                        "EX 1000",
                        "PX 1000000",
                        "EXAT 33177117420",
                        "EX 0",
                    ]);
                    out.extend(words(&option));
                }
            }
            4 => out = words(&format!("GET {key}")),
            5 => {
                out = words(&self.of(&["APPEND", "GETSET", "SETNX"]));
                push(&mut out, &key);
                out.push(value);
            }
            6 => out = words(&format!("{} {key}", self.of(&["STRLEN", "GETDEL", "GET"]))),
            7 | 8 => out = words(&format!("{} n", self.of(&["INCR", "DECR"]))),
            9 => out = words(&format!("{} {key}", self.of(&["INCR", "DECR"]))),
            10 => {
                out = words(&format!("{} {key}", self.of(&["INCRBY", "DECRBY"])));
                let by = self.number(10);
                push(&mut out, &by);
            }
            11 => {
                // On a separate key: Redis rounds to 64 bits, which is visible in long numbers.
                let by = self.of(&["1", "0.5", "-2.25", "3.0e3", "abc"]);
                let key = if by == "abc" { key } else { "f".into() };
                out = words(&format!("INCRBYFLOAT {key} {by}"));
            }
            12 => {
                out = words(&self.of(&["MSET", "MSETNX"]));
                for _ in 0..=self.random.below(2) {
                    let key = self.of(STRINGS);
                    push(&mut out, &key);
                    out.push(self.value());
                }
            }
            13 => {
                let (first, second) = (self.any_key(), self.any_key());
                out = words(&format!("MGET {first} {second}"));
            }
            14 => {
                let option = self.of(&[
                    "",
                    " PERSIST",
                    " EX 1000",
                    " PX 1000000",
                    " EX 0",
                    " BAD",
                    " EXAT 33177117420",
                ]);
                out = words(&format!("GETEX {key}{option}"));
            }
            _ => {
                out = words(&format!(
                    "{} {key} {}",
                    self.of(&["SETEX", "PSETEX"]),
                    self.of(&["1000000", "0", "-1", "abc"])
                ));
                out.push(value);
            }
        }
        out
    }

    pub(super) fn generic(&mut self) -> Action {
        let (key, other) = (self.any_key(), self.any_key());
        let line = match self.random.below(28) {
            0 => format!("DEL {key}"),
            1 => format!("UNLINK {key} {other}"),
            2 => format!("EXISTS {key} {other} {key}"),
            3 | 4 => format!("TYPE {key}"),
            5 => format!("TOUCH {key} {other}"),
            6 => format!("RENAME {key} {other}"),
            7 => format!("RENAMENX {key} {other}"),
            8 if self.random.one_in(2) => match self.random.below(5) {
                0 => self.of(&[
                    "SWAPDB 0 1",
                    "SWAPDB 1 0",
                    "SWAPDB 0 1",
                    "SWAPDB 0 0",
                    "SWAPDB 0 99",
                    "SWAPDB abc 0",
                ]),
                1 => format!(
                    "{} {key} {} {}{}",
                    self.of(&["RESTORE", "RESTORE", "RESTORE-ASKING"]),
                    self.of(&["0", "0", "1000000", "-1", "abc"]),
                    self.of(&["abc", "0123456789abcdef"]),
                    self.of(&["", " REPLACE", " ABSTTL", " IDLETIME 1", " FREQ 256", " BAD"])
                ),
                _ => format!("MOVE {key} {}", self.of(&["1", "1", "0", "99", "abc"])),
            },
            8 => format!(
                "COPY {key} {other}{}",
                self.of(&["", " REPLACE", " DB 1", " DB 1 REPLACE", " DB 99", " BAD"])
            ),
            9 | 10 => {
                let time = self.of(&["1000", "2000", "0", "-1", "abc"]);
                format!("EXPIRE {key} {time}{}", self.of(&["", "", "", " NX", " XX", " NX XX", " BAD"]))
            }
            11 => format!(
                "EXPIREAT {key} {}{}",
                self.of(&["33177117420", "1", "33177117421"]),
                self.of(&["", " GT", " LT"])
            ),
            12 => format!("PEXPIREAT {key} {}", self.of(&["33177117420000", "1"])),
            13 => format!("{} {key}", self.of(&["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"])),
            14 => format!("PERSIST {key}"),
            15 => "DBSIZE".into(),
            16 => format!("KEYS {}", self.of(PATTERNS)),
            17 => format!(
                "SCAN 0 COUNT 1000{}",
                self.of(&["", " MATCH s*", " TYPE stream", " TYPE string", " MATCH [k-n]"])
            ),
            18 => "RANDOMKEY".into(),
            19 => format!("SELECT {}", self.of(&["0", "0", "1", "1", "99", "abc"])),
            20 => format!("OBJECT ENCODING {key}"),
            22 => format!(
                "EXPIRE {key} {}{}",
                self.of(&["3000", "9223372036854775807", "-9223372036854775808", "1.5"]),
                self.of(&[" GT", " LT", " XX GT", " XX LT", " NX GT", " GT LT", " gt"])
            ),
            23 => self.of(&[
                "CLIENT SETNAME a",
                "CLIENT SETNAME",
                "CLIENT GETNAME",
                "CLIENT UNBLOCK 999999",
                "CLIENT UNBLOCK abc",
                "CLIENT UNBLOCK 999999 BAD",
                "CLIENT KILL 1.2.3.4:5",
                "CLIENT KILL ID 999999",
                "CLIENT KILL ID abc",
                "CLIENT KILL TYPE bad",
                "CLIENT KILL BAD 1",
                "CLIENT LIST TYPE bad",
                "CLIENT LIST ID abc",
                "CLIENT NO-EVICT bad",
                "CLIENT REPLY bad",
                "CLIENT PAUSE abc",
                "CLIENT PAUSE -1",
                "CLIENT GETREDIR",
            ]),
            24 => self.of(&[
                "CONFIG GET",
                "CONFIG GET no-such-setting",
                "CONFIG SET no-such-setting 1",
                "CONFIG SET maxclients",
                "CONFIG SET stream-node-max-entries abc",
                "CONFIG SET timeout 0 timeout 0",
                "CONFIG BAD",
                "CONFIG",
                "COMMAND GETKEYS GET k",
                "COMMAND GETKEYS MSET a 1 b 2",
                "COMMAND GETKEYS XREAD COUNT 1 STREAMS s t 0 0",
                "COMMAND GETKEYS XREADGROUP GROUP g c STREAMS s >",
                "COMMAND GETKEYS XGROUP CREATE s g 0",
                "COMMAND GETKEYS COPY a b",
                "COMMAND GETKEYS NONE a",
                "COMMAND BAD",
                "PING a b",
                "SELECT",
                "ECHO",
                "PUBSUB NUMSUB",
                "AUTH",
                "AUTH default x",
                "AUTH x",
                "AUTH nobody x",
                "WAIT 0 0",
                "WAIT abc 0",
                "WAIT 0 abc",
                "RESET x",
                "HELLO 9",
                "HELLO abc",
                "OBJECT REFCOUNT none",
                "OBJECT FREQ none",
                "OBJECT IDLETIME none",
                "OBJECT ENCODING",
                "SCAN 0 TYPE",
                "SCAN 0 COUNT -1",
            ]),
            21 if self.random.one_in(4) => self.of(&["FLUSHDB", "FLUSHALL"]),
            _ => format!("ECHO {key}"),
        };
        words(&line)
    }
}
