//! Random commands on streams and their groups.

use super::generate::{Action, CONSUMERS, FIELDS, GROUPS, Maker, push, words};

impl Maker<'_> {
    fn trim(&mut self, out: &mut Action) {
        let by_length = !self.random.one_in(3);
        let approximate = self.random.one_in(2);
        push(out, if by_length { "MAXLEN" } else { "MINID" });
        if approximate {
            push(out, "~");
        } else if self.random.one_in(2) {
            push(out, "=");
        }
        let threshold = if by_length { self.number(6) } else { self.id() };
        let threshold =
            if by_length && self.random.one_in(5) { self.random.below(300).to_string() } else { threshold };
        push(out, &threshold);
        if (approximate && self.random.one_in(3)) || self.random.one_in(30) {
            let limit =
                if self.random.one_in(2) { self.number(5) } else { (self.random.below(4) * 100).to_string() };
            push(out, "LIMIT");
            push(out, &limit);
        }
    }

    pub(super) fn add(&mut self) -> Action {
        let key = self.key();
        let mut out = words("XADD");
        push(&mut out, &key);
        if self.random.one_in(12) {
            push(&mut out, "NOMKSTREAM");
        }
        if self.random.one_in(6) {
            self.trim(&mut out);
        }
        let id = self.new_id();
        push(&mut out, &id);
        for _ in 0..=self.random.below(3) {
            let field = self.of(FIELDS);
            push(&mut out, &field);
            out.push(self.value());
        }
        if self.random.one_in(40) {
            out.pop();
        }
        out
    }

    /// Enough entries for several nodes, so that `~` can remove some.
    pub(super) fn many_entries(&mut self) {
        let count = 95 + self.random.below(220);
        let size = if self.random.one_in(3) { 60 } else { 1 };
        for _ in 0..count {
            let mut command = words(&format!("XADD s {}-1 a", self.next_ms));
            command.push(vec![b'v'; size]);
            self.push(0, command);
            self.next_ms += 1;
        }
        for _ in 0..4 + self.random.below(10) {
            let command = match self.random.below(7) {
                0 | 1 => {
                    let mut trim = words("XTRIM s");
                    self.trim(&mut trim);
                    trim
                }
                2 => words(&format!("XTRIM s MAXLEN ~ {}", self.random.below(count))),
                3 => words(&format!(
                    "XTRIM s MINID ~ {} LIMIT {}",
                    self.random.below(count),
                    self.random.below(3) * 100
                )),
                4 => words(&format!("XDEL s {}-1 {}-1", self.random.below(count), self.random.below(count))),
                5 => words(&format!("XRANGE s {} + COUNT 3", self.random.below(count))),
                _ => words("XINFO STREAM s"),
            };
            self.push(0, command);
        }
        for line in ["XLEN s", "XINFO STREAM s", "XRANGE s - + COUNT 2", "XREVRANGE s + - COUNT 2"] {
            self.push(0, words(line));
        }
    }

    pub(super) fn command(&mut self) -> Action {
        match self.random.below(100) {
            0..=27 => self.add(),
            28..=45 => self.stream(),
            46..=72 => self.group(),
            73..=84 => self.string(),
            85..=97 => self.generic(),
            _ => self.nonsense(),
        }
    }

    pub(super) fn stream(&mut self) -> Action {
        let key = self.key();
        match self.random.below(12) {
            0 => words(&format!("XLEN {key}")),
            1..=3 => {
                let (name, count) = (self.of(&["XRANGE", "XREVRANGE"]), self.number(4));
                let mut out = words(&format!("{name} {key}"));
                let (start, end) = (self.bound(), self.bound());
                push(&mut out, &start);
                push(&mut out, &end);
                if self.random.one_in(3) {
                    push(&mut out, "COUNT");
                    push(&mut out, &count);
                }
                out
            }
            4 | 5 => self.read(),
            6 => {
                let mut out = words(&format!("XTRIM {key}"));
                self.trim(&mut out);
                out
            }
            7 | 8 => {
                let mut out = words(&format!("XDEL {key}"));
                self.ids(&mut out);
                out
            }
            9 => {
                let full = self.of(&["", "", " FULL", " FULL COUNT 2", " FULL COUNT 0"]);
                words(&format!("XINFO STREAM {key}{full}"))
            }
            10 => {
                let mut out = words(&format!("XSETID {key}"));
                // Above every deleted id: 7.0 lets the last id fall below that, later versions do not.
                let id = if self.random.one_in(8) {
                    self.of(&["abc", "", "$", "-", "+", "18446744073709551616-0", "5-5-5"])
                } else {
                    self.next_ms += 1;
                    format!("{}-9", self.next_ms)
                };
                push(&mut out, &id);
                if self.random.one_in(3) {
                    let (added, deleted) = (self.number(50), self.id());
                    let which = self.random.below(3);
                    for word in [["ENTRIESADDED", &added], ["MAXDELETEDID", &deleted]].concat() {
                        push(&mut out, word);
                    }
                    match which {
                        0 => out.truncate(out.len() - 2),
                        1 => drop(out.drain(3..5)),
                        _ => {}
                    }
                }
                out
            }
            _ => words(&format!("XRANGE {key} - +")),
        }
    }

    fn ids(&mut self, out: &mut Action) {
        for _ in 0..=self.random.below(3) {
            let id = self.id();
            push(out, &id);
        }
    }

    fn read(&mut self) -> Action {
        let mut out = words("XREAD");
        if self.random.one_in(3) {
            let count = self.number(4);
            push(&mut out, "COUNT");
            push(&mut out, &count);
        }
        if self.random.one_in(10) {
            push(&mut out, "BLOCK");
            push(&mut out, "1");
        }
        push(&mut out, "STREAMS");
        let streams = 1 + self.random.below(2);
        for _ in 0..streams {
            let key = self.key();
            push(&mut out, &key);
        }
        for _ in 0..streams {
            let id = if self.random.one_in(8) { "$".into() } else { self.id() };
            push(&mut out, &id);
        }
        out
    }

    pub(super) fn group(&mut self) -> Action {
        let (key, group, consumer) = (self.key(), self.of(GROUPS), self.of(CONSUMERS));
        match self.random.below(24) {
            0..=2 => {
                let id = self.random.pick(&["0", "0", "$", "1-1", "3"]).to_string();
                let id = if self.random.one_in(8) { self.id() } else { id };
                let mut out = words(&format!("XGROUP CREATE {key} {group}"));
                push(&mut out, &id);
                if !self.random.one_in(4) {
                    push(&mut out, "MKSTREAM");
                }
                out
            }
            3 => {
                let mut out = words(&format!("XGROUP SETID {key} {group}"));
                let id = if self.random.one_in(3) { "$".into() } else { self.id() };
                push(&mut out, &id);
                out
            }
            4 if self.random.one_in(2) => words(&format!("XGROUP DESTROY {key} {group}")),
            4 | 5 => words(&format!("XGROUP CREATECONSUMER {key} {group} {consumer}")),
            6 if self.random.one_in(2) => words(&format!("XGROUP DELCONSUMER {key} {group} {consumer}")),
            6..=11 => {
                let mut out = words(&format!("XREADGROUP GROUP {group} {consumer}"));
                if self.random.one_in(2) {
                    let count = self.number(4);
                    push(&mut out, "COUNT");
                    push(&mut out, &count);
                }
                if self.random.one_in(8) {
                    push(&mut out, "NOACK");
                }
                push(&mut out, "STREAMS");
                let streams = if self.random.one_in(6) { 2 } else { 1 };
                push(&mut out, &key);
                for _ in 1..streams {
                    let key = self.key();
                    push(&mut out, &key);
                }
                for _ in 0..streams {
                    let id = if self.random.one_in(3) { self.id() } else { ">".into() };
                    push(&mut out, &id);
                }
                out
            }
            12..=14 => {
                let mut out = words(&format!("XACK {key} {group}"));
                self.ids(&mut out);
                out
            }
            15 | 16 => words(&format!("XPENDING {key} {group}")),
            17 => {
                let mut out = words(&format!("XPENDING {key} {group}"));
                if self.random.one_in(3) {
                    let idle = self.of(&["0", "1000000", "abc", "-1"]);
                    push(&mut out, "IDLE");
                    push(&mut out, &idle);
                }
                let (start, end, count) = (self.bound(), self.bound(), self.number(12));
                for word in [start, end, count] {
                    push(&mut out, &word);
                }
                if self.random.one_in(3) {
                    push(&mut out, &consumer);
                }
                out
            }
            18..=20 => self.claim(&key, &group, &consumer),
            21 => {
                let idle = self.of(&["0", "0", "0", "1000000", "500000", "-1", "abc"]);
                let mut out = words(&format!("XAUTOCLAIM {key} {group} {consumer} {idle}"));
                let start = self.bound();
                push(&mut out, &start);
                if self.random.one_in(2) {
                    let count = self.number(4);
                    push(&mut out, "COUNT");
                    push(&mut out, &count);
                }
                if self.random.one_in(3) {
                    push(&mut out, "JUSTID");
                }
                out
            }
            22 => words(&format!("XINFO GROUPS {key}")),
            _ => words(&format!("XINFO CONSUMERS {key} {group}")),
        }
    }

    /// Idle times are far apart, so that each min-idle-time clearly separates them.
    fn claim(&mut self, key: &str, group: &str, consumer: &str) -> Action {
        let idle = self.of(&["0", "0", "0", "0", "500000", "2000000", "-7", "abc"]);
        let mut out = words(&format!("XCLAIM {key} {group} {consumer} {idle}"));
        self.ids(&mut out);
        for _ in 0..self.random.below(3) {
            let option = match self.random.below(7) {
                0 => "IDLE 1000000".to_string(),
                1 => "TIME 1000".to_string(),
                2 => format!("RETRYCOUNT {}", self.random.below(5)),
                3 | 4 => "FORCE".to_string(),
                5 => "JUSTID".to_string(),
                _ => format!("LASTID {}-1", self.random.below(5)),
            };
            out.extend(words(&option));
        }
        out
    }
}
