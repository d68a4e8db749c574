//! One client of the mixed load: sends commands one by one until the connection breaks, and notes each
//! outcome.

use super::WORKERS;
use super::knowledge::{Knowledge, Outcome};
use crate::support::client::Client;
use crate::support::random::Random;
use crate::support::value::Value;
use crate::support::wire::Door;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// `is_cut`: the disk is gone, and errors are replies like none.
pub fn run(worker: usize, door: &Door, random: Random, knowledge: &Mutex<Knowledge>, is_cut: &AtomicBool) {
    let Ok(client) = Client::through(door) else { return };
    let mut load = Load { worker, client, random, knowledge, is_cut };
    while load.step().is_some() {}
}

/// Fills journal files in any partition and requests checkpoints, so that kills hit both at any moment.
pub fn fill(door: &Door, mut random: Random) {
    let Ok(mut client) = Client::through(door) else { return };
    let ballast = "x".repeat(40_000);
    loop {
        let sent = match random.below(20) {
            0 => client.try_command(&["SAVE"]),
            1 => client.try_command(&["BGSAVE"]),
            key => client.try_command(&["XADD", &format!("ballast{key}"), "MAXLEN", "3", "*", "v", &ballast]),
        };
        if sent.is_err() {
            return;
        }
    }
}

struct Load<'a> {
    worker: usize,
    client: Client,
    random: Random,
    knowledge: &'a Mutex<Knowledge>,
    is_cut: &'a AtomicBool,
}

impl Load<'_> {
    /// One command; `None` when the connection broke.
    fn step(&mut self) -> Option<()> {
        match self.random.below(16) {
            0..=4 => self.add("events"),
            5..=6 => self.add("jobs"),
            7 => self.delete(),
            8..=9 => self.read(),
            10..=11 => self.acknowledge(),
            12 => self.claim(),
            13 => self.increment(),
            14 => self.set(),
            _ => self.transaction(),
        }
    }

    fn note<T>(&self, change: impl FnOnce(&mut Knowledge) -> T) -> T {
        change(&mut self.knowledge.lock().expect("knowledge"))
    }

    /// A command's reply, or `None` if it will never be known. An error reply fails the test.
    fn call(&mut self, line: &str) -> Option<Value> {
        let reply = self.client.try_command(&crate::support::notation::split(line)).ok()?;
        self.unless_cut(reply, line)
    }

    fn unless_cut(&self, reply: Value, line: &str) -> Option<Value> {
        if reply.is_error() {
            assert!(self.is_cut.load(Ordering::SeqCst), "{line}: {reply}");
            return None;
        }
        Some(reply)
    }

    fn add(&mut self, stream: &'static str) -> Option<()> {
        let token = self.note(|knowledge| knowledge.new_token(stream));
        let id = self.call(&format!("XADD {stream} * v {token}"))?;
        self.note(|knowledge| knowledge.added(stream, token, &id.text()));
        Some(())
    }

    fn delete(&mut self) -> Option<()> {
        let choice = self.random.next();
        let Some(id) = self.note(|knowledge| knowledge.begin_delete(choice)) else { return Some(()) };
        let count = self.call(&format!("XDEL events {id}"))?;
        assert_eq!(count, Value::Integer(1), "XDEL of the acknowledged entry {id}");
        self.note(|knowledge| knowledge.deleted(&id));
        Some(())
    }

    fn read(&mut self) -> Option<()> {
        let worker = self.worker;
        self.note(|knowledge| knowledge.begin_read(worker));
        let reply = self.call(&format!("XREADGROUP GROUP g w{worker} COUNT 3 STREAMS jobs >"))?;
        let entries =
            reply.elements().first().map(|stream| stream.elements()[1].elements()).unwrap_or_default();
        let ids: Vec<String> = entries.iter().map(|entry| entry.elements()[0].text()).collect();
        self.note(|knowledge| knowledge.delivered(worker, &ids));
        Some(())
    }

    fn acknowledge(&mut self) -> Option<()> {
        let worker = self.worker;
        let Some(id) = self.note(|knowledge| knowledge.begin_acknowledge(worker)) else { return Some(()) };
        let count = self.call(&format!("XACK jobs g {id}"))?;
        assert_eq!(count, Value::Integer(1), "XACK of the pending entry {id}");
        self.note(|knowledge| knowledge.settle(&id, Outcome::Acknowledged));
        Some(())
    }

    fn claim(&mut self) -> Option<()> {
        let (worker, other) = (self.worker, self.random.below(WORKERS));
        let Some(id) = self.note(|knowledge| knowledge.begin_claim(other, worker)) else { return Some(()) };
        let reply = self.call(&format!("XCLAIM jobs g w{worker} 0 {id} JUSTID"))?;
        assert_eq!(reply, Value::Array(vec![Value::bulk(&id)]), "XCLAIM of the pending entry {id}");
        self.note(|knowledge| knowledge.settle(&id, Outcome::OwnedBy(worker)));
        Some(())
    }

    fn increment(&mut self) -> Option<()> {
        let worker = self.worker;
        self.note(|knowledge| knowledge.begin_increment(worker));
        let value = self.call(&format!("INCR counter{worker}"))?;
        self.note(|knowledge| knowledge.incremented(worker, value.integer()));
        Some(())
    }

    fn set(&mut self) -> Option<()> {
        let (worker, value) = (self.worker, self.random.next());
        self.note(|knowledge| knowledge.begin_set(worker, value));
        self.call(&format!("SET value{worker} {value}"))?;
        self.note(|knowledge| knowledge.set(worker, value));
        Some(())
    }

    /// An entry in two streams and a counter: all or nothing.
    fn transaction(&mut self) -> Option<()> {
        let worker = self.worker;
        let token = self.note(|knowledge| knowledge.begin_transaction(worker));
        let lines = [
            "MULTI".to_string(),
            format!("XADD {{{worker}}}left * v {token}"),
            format!("INCR {{{worker}}}both"),
            format!("XADD {{{worker}}}right * v {token}"),
            "EXEC".to_string(),
        ];
        let mut bytes = Vec::new();
        for line in &lines {
            crate::support::notation::encode(&crate::support::notation::split(line), &mut bytes);
        }
        self.client.send_bytes(&bytes).ok()?;
        let mut last = Value::Null;
        for _ in &lines {
            let reply = self.client.reply(crate::support::client::PATIENCE).ok()?;
            last = self.unless_cut(reply, "a line of a transaction")?;
        }
        assert_eq!(last.elements().len(), 3, "EXEC answered {last}");
        self.note(|knowledge| knowledge.executed(worker, token));
        Some(())
    }
}
