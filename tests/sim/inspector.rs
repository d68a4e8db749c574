//! A client that looks at everything, and what it must see.

use super::client::{Arrival, Client, Id, Op};
use super::knowledge::{JOBS, LOGS, TRIMMED, ensure};
use super::leases::LEASED;
use super::rest::REST_MS;
use super::run::Run;
use super::value::Value;
use super::watched::{STEPS, VALUE};
use super::workload::SIDE;

impl Run {
    pub(super) fn inspector(&mut self) -> Client {
        self.connections += 1;
        let mut client = Client::new(usize::MAX);
        client.connected(self.connections, self.process.as_mut().expect("runs").connect());
        client
    }

    pub(super) fn hang_up(&mut self, mut inspector: Client) {
        inspector.disconnect(false);
        self.world.executor.run_until_idle();
    }

    pub(super) fn ask(&mut self, inspector: &mut Client, words: &str) -> Result<Value, String> {
        inspector.send(Op::Inspect, words.to_owned(), None);
        let end_ms = self.now_ms() + REST_MS;
        loop {
            inspector.flush(usize::MAX);
            let turns = self.world.executor.run_until_idle();
            match inspector.read() {
                Arrival::Ended => return Err(format!("closed instead of an answer to {words}")),
                Arrival::Replies(mut replies) if !replies.is_empty() => {
                    inspector.waiting.clear();
                    let reply = replies.remove(0);
                    self.note(format!("   {words}: {}", reply.to_string().replace('\n', " / ")));
                    return Ok(reply);
                }
                Arrival::Replies(_) if turns > 0 => {}
                Arrival::Replies(_) => {
                    ensure!(self.now_ms() < end_ms, "never answered: {words}");
                    ensure!(self.world.clock.advance_to_next_timer().is_some(), "never answered: {words}");
                }
            }
        }
    }

    /// `None`: there is no such group.
    pub(super) fn delivered(
        &mut self,
        inspector: &mut Client,
        stream: &str,
        group: &str,
    ) -> Result<Option<Id>, String> {
        let groups = self.ask(inspector, &format!("XINFO GROUPS {stream}"))?;
        if groups.is_error() {
            return Ok(None);
        }
        let group = groups
            .elements()
            .into_iter()
            .find(|it| it.field("name").is_some_and(|name| name.text() == group));
        Ok(group.and_then(|it| it.field("last-delivered-id")).map(|id| Id::parse(&id.text())))
    }

    pub(super) fn last_id(&mut self, inspector: &mut Client, stream: &str) -> Result<Id, String> {
        let info = self.ask(inspector, &format!("XINFO STREAM {stream}"))?;
        Ok(if info.is_error() {
            Id::default()
        } else {
            Id::parse(&info.field("last-generated-id").expect("in XINFO").text())
        })
    }

    pub(super) fn verify(&mut self, lost_before_ms: Option<u64>, is_restarted: bool) -> Result<(), String> {
        self.counters.verifications += 1;
        let mut inspector = self.inspector();
        let has_lost = lost_before_ms.is_some();
        let now_ms = self.now_ms();
        for stream in LOGS.into_iter().chain(JOBS).chain([TRIMMED, LEASED]) {
            let found = self.ask(&mut inspector, &format!("XRANGE {stream} - +"))?;
            let last = self.last_id(&mut inspector, stream)?;
            self.knowledge.verify_stream(stream, &found, last, lost_before_ms, now_ms)?;
        }
        for stream in JOBS {
            let rows = self.ask(&mut inspector, &format!("XPENDING {stream} g - + 1000000"))?;
            let delivered =
                self.delivered(&mut inspector, stream, "g")?.ok_or(format!("{stream}: the group is gone"))?;
            self.knowledge.verify_group(stream, delivered, &rows, has_lost, is_restarted)?;
        }
        let ids = self.knowledge.ids(LEASED);
        let now = (self.knowledge.next_moment(), now_ms);
        for group in ["g", "n"] {
            let rows = self.ask(&mut inspector, &format!("XPENDING {LEASED} {group} - + 1000000"))?;
            let delivered = self.delivered(&mut inspector, LEASED, group)?;
            let delivered = delivered.ok_or(format!("{LEASED}: the group {group} is gone"))?;
            if group == "g" {
                self.knowledge.leases.verify(&ids, delivered, &rows, has_lost, now)?;
            } else {
                self.knowledge.unacknowledged.verify(&ids, delivered, &rows, has_lost)?;
            }
        }
        if is_restarted {
            self.knowledge.nothing_is_loose();
        }
        for (key, expected) in self.knowledge.take_values() {
            let found = self.ask(&mut inspector, &format!("GET {key}"))?;
            let found = (!found.is_null()).then(|| found.text());
            ensure!(
                has_lost || expected.contains(&found),
                "{key} is {found:?}, expected one of {expected:?}"
            );
        }
        let value = self.ask(&mut inspector, &format!("GET {VALUE}"))?;
        let steps = self.ask(&mut inspector, &format!("XRANGE {STEPS} - +"))?;
        self.knowledge.watched.verify(&value, &steps, has_lost)?;
        for client in self.knowledge.transacting() {
            let left = self.ask(&mut inspector, &format!("XRANGE {{t{client}}}left - +"))?;
            let right = self.ask(&mut inspector, &format!("XRANGE {{t{client}}}right - +"))?;
            let count = self.ask(&mut inspector, &format!("GET {{t{client}}}both"))?;
            self.knowledge.verify_transactions(client, &left, &right, &count, has_lost)?;
        }
        self.hang_up(inspector);
        self.counters.entries = self.knowledge.acknowledged;
        self.counters.raised = self.knowledge.raised;
        self.counters.claims = self.knowledge.leases.claims;
        self.counters.messages = self.knowledge.channels.heard;
        self.counters.blocked = self.knowledge.served;
        Ok(())
    }

    /// Everything of the streams, as a text.
    pub(super) fn photograph(&mut self) -> Result<String, String> {
        let mut inspector = self.inspector();
        let mut text = String::new();
        for stream in LOGS.into_iter().chain(JOBS).chain([TRIMMED, LEASED]).chain(SIDE) {
            text += &self.ask(&mut inspector, &format!("XINFO STREAM {stream} FULL COUNT 0"))?.to_string();
            text += "\n";
        }
        self.hang_up(inspector);
        Ok(text)
    }
}
