//! The commands that clients send.

use super::channels::CHANNELS;
use super::client::{Asked, Id, Op};
use super::knowledge::{self, JOBS, LOGS, TRIMMED};
use super::leases::LEASED;
use super::run::{Run, START_MS};
use super::value::Value;
use super::watched::{STEPS, VALUE};
use headwater::env::entropy::Entropy;

/// Streams that come and go, with groups that come and go.
pub const SIDE: [&str; 2] = ["{side}a", "{side}b"];

impl Run {
    pub(super) fn compose(&mut self, at: usize) {
        let side = SIDE[self.below(2) as usize];
        let jobs = JOBS[self.below(2) as usize];
        let log = LOGS[self.below(2) as usize];
        if self.settings.is_crowded && self.random.chance(80) {
            return self.compose_crowd(at);
        }
        if self.random.chance(15) {
            return self.compose_lease(at);
        }
        if self.random.chance(8) && self.compose_watched(at) {
            return;
        }
        if self.random.chance(8) {
            let channel = self.below(CHANNELS as u64) as usize;
            let number = self.knowledge.channels.next_number(channel, self.clients[at].connection);
            let op = Op::Publish { message: Some((channel, number)) };
            return self.send(at, op, format!("PUBLISH channel{channel} {number}"), None);
        }
        match self.below(100) {
            0..14 => self.add(at, log),
            14..28 => self.add(at, jobs),
            28..31 => self.add(at, TRIMMED),
            31..33 => {
                let words = format!("XTRIM {TRIMMED} MAXLEN {}", self.below(10));
                self.send(at, Op::Anything, words, None);
            }
            33..36 => {
                let choice = self.random.u64();
                if let Some(id) = self.knowledge.begin_delete(log, choice) {
                    self.send(at, Op::Delete { stream: log, id }, format!("XDEL {log} {id}"), None);
                }
            }
            36..42 => {
                let names = if self.reads_several() { LOGS.to_vec() } else { vec![log] };
                let after = |name| {
                    if self.random.chance(50) { self.knowledge.greatest(name) } else { Id::default() }
                };
                let streams: Vec<_> = names.iter().map(|name| (*name, after(name))).collect();
                let ids: Vec<_> = streams.iter().map(|it| it.1.to_string()).collect();
                let (block, timeout_ms, is_blocking) = self.draw_block();
                let (names, ids) = (names.join(" "), ids.join(" "));
                let words = format!("XREAD COUNT {} {block}STREAMS {names} {ids}", 1 + self.below(5));
                self.send(at, Op::Read { streams, is_blocking }, words, timeout_ms);
            }
            42..56 => {
                let (block, timeout_ms, is_blocking) = self.draw_block();
                let count = if self.random.chance(70) {
                    format!("COUNT {} ", 1 + self.below(3))
                } else {
                    String::new()
                };
                let streams = if self.reads_several() { JOBS.to_vec() } else { vec![jobs] };
                let ids = vec![">"; streams.len()].join(" ");
                let names = streams.join(" ");
                let words = format!("XREADGROUP GROUP g c{at} {count}{block}STREAMS {names} {ids}");
                self.send(at, Op::GroupRead { streams, is_blocking }, words, timeout_ms);
            }
            56..63 => {
                let choice = self.random.u64();
                if let Some(id) = self.knowledge.begin_acknowledge(jobs, at, choice) {
                    self.send(at, Op::Acknowledge { stream: jobs, id }, format!("XACK {jobs} g {id}"), None);
                }
            }
            63..66 => {
                let words = format!("XREADGROUP GROUP g c{at} STREAMS {jobs} 0");
                self.send(at, Op::History { stream: jobs }, words, None);
            }
            66..70 => {
                let value = self.random.u64() >> 1;
                let asker = self.asker(at);
                let value = self.clients[at].own_value.map_or(value >> 20, |before| before + 1);
                self.clients[at].own_value = Some(value);
                let key = knowledge::value_key(&asker);
                self.knowledge.begin_set(key.clone(), value);
                self.send(at, Op::Set { value }, format!("SET {key} {value}"), None);
            }
            70..75 => {
                let key = knowledge::value_key(&self.asker(at));
                self.send(at, Op::Get { value: self.clients[at].own_value }, format!("GET {key}"), None);
            }
            75..78 => {
                let key = knowledge::counter_key(&self.asker(at));
                self.clients[at].increments += 1;
                self.knowledge.begin_increment(key.clone());
                let value = self.clients[at].increments;
                self.send(at, Op::Increment { value }, format!("INCR {key}"), None);
            }
            78..81 if !self.clients[at].is_watching => {
                let token = self.knowledge.begin_transaction(at);
                let queued = || Op::Exactly(Value::Simple(b"QUEUED".to_vec()));
                self.send(at, Op::Exactly(Value::ok()), "MULTI".to_owned(), None);
                self.send(at, queued(), format!("XADD {{t{at}}}left * t {token}"), None);
                self.send(at, queued(), format!("XADD {{t{at}}}right * t {token}"), None);
                self.send(at, queued(), format!("INCR {{t{at}}}both"), None);
                self.send(at, Op::Execute { token }, "EXEC".to_owned(), None);
            }
            81..84 => {
                self.send(at, Op::Publish { message: None }, format!("PUBLISH elsewhere{at} 0"), None);
            }
            84..88 => {
                let text = format!("echo{}", self.below(1_000_000));
                self.send(at, Op::Exactly(Value::bulk(&text)), format!("ECHO {text}"), None);
            }
            88..90 => {
                let words = format!("SET {{c{at}}}x{} 1 PX {}", self.below(3), 1 + self.below(2000));
                self.send(at, Op::Exactly(Value::ok()), words, None);
            }
            90..92 => {
                let words = if self.random.chance(60) { "SAVE" } else { "BGSAVE" };
                self.counters.checkpoints += 1;
                self.send(at, Op::Anything, words.to_owned(), None);
            }
            92 if self.random.chance(50) => {
                self.send(at, Op::Anything, "DEBUG RELOAD".to_owned(), None);
            }
            _ => self.compose_side(at, side),
        }
    }

    /// One client adds what all others wait for.
    fn compose_crowd(&mut self, at: usize) {
        if at > 0 {
            let streams = match self.settings.reads_several {
                true if self.random.chance(40) => JOBS.to_vec(),
                true => vec![JOBS[self.below(2) as usize]],
                false => vec![JOBS[0]],
            };
            let ids = vec![">"; streams.len()].join(" ");
            let names = streams.join(" ");
            let words = format!("XREADGROUP GROUP g c{at} COUNT 1 BLOCK 0 STREAMS {names} {ids}");
            return self.send(at, Op::GroupRead { streams, is_blocking: true }, words, None);
        }
        self.add(at, JOBS[0]);
        if self.settings.reads_several && self.random.chance(50) {
            // It fills an entry of the log. The next one takes readers along, for its op names their stream,
            // and has nothing for them.
            self.add_with(at, JOBS[1], &format!(" more {}", "m".repeat(512)));
            let words = format!("XACK {} g 0-1", JOBS[1]);
            self.send(at, Op::Exactly(Value::Integer(0)), words, None);
        }
    }

    fn compose_lease(&mut self, at: usize) {
        let idle_ms = [0, 10, 100, 1000, 5000][self.below(5) as usize];
        let asked = Asked { moment: self.knowledge.next_moment(), ms: self.now_ms() };
        let count = 1 + self.below(3);
        match self.below(20) {
            0..6 => self.add(at, LEASED),
            6..11 => {
                let (block, timeout_ms, is_blocking) = self.draw_block();
                let claim_ms = self.random.chance(60).then_some(idle_ms);
                let claim = claim_ms.map_or(String::new(), |idle_ms| format!("CLAIM {idle_ms} "));
                let words =
                    format!("XREADGROUP GROUP g c{at} COUNT {count} {block}{claim}STREAMS {LEASED} >");
                self.send(at, Op::LeaseRead { claim_ms, asked, is_blocking }, words, timeout_ms);
            }
            11..13 => {
                let pending = self.knowledge.leases.pending();
                let from = self.below(pending.len() as u64 + 1) as usize;
                let ids: Vec<_> = pending[from..].iter().take(count as usize).map(Id::to_string).collect();
                if !ids.is_empty() {
                    let words = format!("XCLAIM {LEASED} g c{at} {idle_ms} {}", ids.join(" "));
                    self.send(at, Op::Claim { idle_ms, is_auto: false, asked }, words, None);
                }
            }
            13..15 => {
                let words = format!("XAUTOCLAIM {LEASED} g c{at} {idle_ms} 0 COUNT {count}");
                self.send(at, Op::Claim { idle_ms, is_auto: true, asked }, words, None);
            }
            15..17 => {
                let choice = self.random.u64();
                if let Some(id) = self.knowledge.leases.begin_acknowledge(at, choice) {
                    self.send(at, Op::Release { id }, format!("XACK {LEASED} g {id}"), None);
                }
            }
            _ => {
                let (block, timeout_ms, is_blocking) = self.draw_block();
                let words = format!("XREADGROUP GROUP n c{at} COUNT {count} {block}NOACK STREAMS {LEASED} >");
                self.send(at, Op::UnacknowledgedRead { is_blocking }, words, timeout_ms);
            }
        }
    }

    /// Begins to raise the value, or ends it. Returns whether it could do either.
    fn compose_watched(&mut self, at: usize) -> bool {
        if let Some(found) = self.clients[at].watched.take() {
            let value = found + 1;
            self.clients[at].is_watching = false;
            self.knowledge.watched.begin(value);
            let queued = || Op::Exactly(Value::Simple(b"QUEUED".to_vec()));
            self.send(at, Op::Exactly(Value::ok()), "MULTI".to_owned(), None);
            self.send(at, queued(), format!("SET {VALUE} {value}"), None);
            self.send(at, queued(), format!("XADD {STEPS} * t {value}"), None);
            self.send(at, Op::ExecuteWatched { value }, "EXEC".to_owned(), None);
            return true;
        }
        if self.clients[at].is_watching {
            return false;
        }
        self.clients[at].is_watching = true;
        let least = self.knowledge.watched.least();
        self.send(at, Op::Exactly(Value::ok()), format!("WATCH {VALUE}"), None);
        self.send(at, Op::GetWatched { least }, format!("GET {VALUE}"), None);
        true
    }

    fn compose_side(&mut self, at: usize, side: &'static str) {
        let other = SIDE[usize::from(side == SIDE[0])];
        let words = match self.below(10) {
            0..3 => format!("XADD {side} * t 1"),
            3 => format!("XGROUP CREATE {side} g 0 MKSTREAM"),
            4 => format!("XGROUP DESTROY {side} g"),
            5 => format!("DEL {side}"),
            6 => format!("RENAME {side} {other}"),
            7 => format!("XADD {side} MAXLEN 1 * t 1"),
            _ => {
                let (block, timeout_ms, is_blocking) = self.draw_block();
                let words = format!("XREADGROUP GROUP g c{at} {block}STREAMS {side} >");
                return self.send(at, Op::SideRead { key: side, is_blocking }, words, timeout_ms);
            }
        };
        self.send(at, Op::Anything, words, None);
    }

    fn reads_several(&self) -> bool {
        self.settings.reads_several && self.random.chance(50)
    }

    /// `BLOCK n `, or nothing; the timeout, if there is one; whether it blocks.
    fn draw_block(&self) -> (String, Option<u64>, bool) {
        match self.below(4) {
            0 => (String::new(), None, false),
            1 => {
                let ms = 1 + self.below(2000);
                (format!("BLOCK {ms} "), Some(ms), true)
            }
            _ => ("BLOCK 0 ".to_owned(), None, true),
        }
    }

    fn add(&mut self, at: usize, stream: &'static str) {
        self.add_with(at, stream, "");
    }

    /// `more`: fields behind the token.
    fn add_with(&mut self, at: usize, stream: &'static str, more: &str) {
        let token = self.knowledge.new_token(stream);
        let floor = self.knowledge.greatest(stream);
        let is_idempotent = self.random.chance(15);
        let idempotent = if is_idempotent { format!("IDMP p{at} {token} ") } else { String::new() };
        // Ahead of the clock: those that follow must not be behind it.
        let is_explicit = !is_idempotent && self.random.chance(3);
        let id = match is_explicit {
            true => {
                let ms = floor.0.max(START_MS) + self.below(10_000);
                self.knowledge.explicit_ms = self.knowledge.explicit_ms.max(ms);
                format!("{ms}-{}", self.below(3))
            }
            false => "*".to_owned(),
        };
        let words = format!("XADD {stream} {idempotent}{id} t {token}{more}");
        let op = Op::Add { stream, token, floor, is_idempotent, is_explicit };
        self.send(at, op.clone(), words.clone(), None);
        if is_idempotent && self.random.chance(50) {
            // Sent again, as by a producer that has lost its reply.
            self.send(at, op, words, None);
        }
    }
}
