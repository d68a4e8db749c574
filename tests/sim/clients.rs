//! The clients of a run: their connections, what they send, and what becomes of each reply.

use super::channels::CHANNELS;
use super::client::{Arrival, Op};
use super::knowledge::{Asker, ensure};
use super::run::Run;
use super::value::Value;
use headwater::env::clock::Clock;

impl Run {
    pub(super) fn connect_all(&mut self) {
        for at in 0..self.clients.len() {
            self.connect(at);
        }
    }

    pub(super) fn connect(&mut self, at: usize) {
        let is_subscriber = self.random.chance(15);
        self.connections += 1;
        let connection = self.connections;
        let Some(process) = &mut self.process else { return };
        let ends = process.connect();
        let client = &mut self.clients[at];
        client.connected(connection, ends);
        client.is_subscriber = is_subscriber;
        self.note(format!("c{at} connects"));
        if is_subscriber {
            let channels: Vec<_> = (0..CHANNELS).map(|channel| format!("channel{channel}")).collect();
            self.send(at, Op::Subscribe, format!("SUBSCRIBE {}", channels.join(" ")), None);
        }
    }

    pub(super) fn disconnect_all(&mut self) {
        for at in 0..self.clients.len() {
            self.disconnect(at);
        }
    }

    pub(super) fn disconnect(&mut self, at: usize) {
        let is_broken = self.random.chance(30);
        let client = &mut self.clients[at];
        if client.is_connected() {
            client.disconnect(is_broken);
            self.knowledge.channels.disconnected(self.clients[at].connection);
            self.note(format!("c{at} disconnects"));
        }
        for sent in std::mem::take(&mut self.clients[at].waiting) {
            self.knowledge.never_answered(at, &sent.op);
        }
    }

    pub(super) fn asker(&self, at: usize) -> Asker {
        let client = &self.clients[at];
        Asker {
            client: at,
            connection: client.connection,
            blocked_since: client.blocked_since,
            now_ms: self.world.clock.monotonic_ms(),
            is_exact: self.wall.is_exact(),
        }
    }

    pub(super) fn send(&mut self, at: usize, op: Op, words: String, timeout_ms: Option<u64>) {
        self.note(format!("c{at} > {words}"));
        self.clients[at].send(op, words, timeout_ms);
        self.counters.commands += 1;
    }

    pub(super) fn read(&mut self, at: usize) -> Result<bool, String> {
        match self.clients[at].read() {
            Arrival::Ended => {
                self.note(format!("c{at} is closed"));
                ensure!(
                    self.may_stop || self.process.as_ref().is_none_or(|it| it.has_ended().is_some()),
                    "the server closed the connection of client {at}"
                );
                self.disconnect(at);
                Ok(true)
            }
            Arrival::Replies(replies) => {
                let is_any = !replies.is_empty();
                for reply in replies {
                    if !self.clients[at].is_connected() {
                        break;
                    }
                    self.note(format!("c{at} < {}", reply.to_string().replace('\n', " / ")));
                    self.take_reply(at, &reply)?;
                }
                Ok(is_any)
            }
        }
    }

    pub(super) fn take_reply(&mut self, at: usize, reply: &Value) -> Result<(), String> {
        if self.clients[at].is_subscriber {
            let parts = reply.elements();
            let connection = self.clients[at].connection;
            let channels = &mut self.knowledge.channels;
            return match parts[0].text().as_str() {
                "message" => channels.heard(connection, &parts[1].text(), &parts[2].text()),
                "subscribe" => {
                    let _ = self.clients[at].waiting.pop_front();
                    channels.subscribed(connection, &parts[1].text())
                }
                other => Err(format!("a subscriber was told {other}")),
            };
        }
        let Some(sent) = self.clients[at].waiting.pop_front() else {
            return Err(format!("client {at} was sent {reply}, and has asked for nothing"));
        };
        let asker = self.asker(at);
        if let Op::GetWatched { .. } = sent.op
            && !reply.is_error()
        {
            self.clients[at].watched = Some(if reply.is_null() { 0 } else { reply.integer() as u64 });
        }
        self.clients[at].blocked_since = None;
        self.clients[at].blocked_ms = None;
        let text = if reply.is_error() { reply.text() } else { String::new() };
        if self.shortage.was_on && (text.starts_with("MISCONF No space") || text.starts_with("EXECABORT")) {
            self.counters.refusals += 1;
            self.knowledge.never_answered(at, &sent.op);
            if let Op::Set { .. } | Op::Increment { .. } = sent.op {
                // What it has sent behind this expects other values.
                self.disconnect(at);
            }
            return Ok(());
        }
        // Once a sync has failed nothing more is written, and reads do not see what was refused.
        let is_refused = reply.is_error() || matches!(sent.op, Op::Get { .. } | Op::Increment { .. });
        let is_stopping =
            (self.may_stop && is_refused) || (reply.is_error() && reply.text().starts_with("UNKNOWN"));
        if is_stopping {
            self.knowledge.never_answered(at, &sent.op);
            return Ok(());
        }
        self.knowledge
            .answered(&asker, &sent.op, reply)
            .map_err(|why| format!("client {at}: {}: {why}", sent.words))
    }

    pub(super) fn read_all(&mut self) -> Result<bool, String> {
        let mut is_any = false;
        for at in 0..self.clients.len() {
            is_any |= self.read(at)?;
        }
        Ok(is_any)
    }
}
