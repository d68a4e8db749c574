//! What must hold between two steps, and once nothing fails any more.

use super::client::{Client, Id, Op};
use super::knowledge::ensure;
use super::run::Run;

/// How long everything has to come to rest once nothing fails any more.
pub const REST_MS: u64 = 20_000;

impl Run {
    /// Lets everything happen that happens without time, and looks at who was served.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        loop {
            let mut is_moved = false;
            for at in 0..self.clients.len() {
                is_moved |= self.clients[at].flush(usize::MAX) > 0;
            }
            let turns = self.world.executor.run_until_idle();
            is_moved |= self.read_all()?;
            if !is_moved && turns == 0 {
                break;
            }
        }
        // A read of several partitions is one read in each of them, and in none when it is in the log of another.
        let has_partitions = self.settings.partitions > 1;
        let is_first_at = |op: &Op, stream| match op {
            Op::GroupRead { streams, .. } => {
                streams.contains(&stream) && !(has_partitions && streams.len() > 1)
            }
            _ => false,
        };
        for (stream, since) in std::mem::take(&mut self.knowledge.woken) {
            let waits = |client: &&Client| {
                client.blocked_since.is_some_and(|earlier| earlier < since)
                    && client.waiting.front().is_some_and(|it| is_first_at(&it.op, stream))
            };
            if let Some(client) = self.clients.iter().find(waits) {
                return Err(format!(
                    "client {} waits on {stream}, and one that came later was served",
                    client.number
                ));
            }
        }
        for client in self.clients.iter().filter(|client| client.is_subscriber && client.is_connected()) {
            self.knowledge.channels.verify(client.connection)?;
        }
        self.looks += 1;
        for client in &mut self.clients {
            let is_blocked = client.waiting.len() == 1
                && client.is_connected()
                && !client.has_unsent()
                && client.waiting[0].op.may_wait();
            if is_blocked && client.blocked_since.is_none() {
                client.blocked_since = Some(self.looks);
            }
        }
        Ok(())
    }

    /// Lets time pass until nobody waits but reads that may.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        let end_ms = self.now_ms() + REST_MS;
        while self.now_ms() < end_ms {
            self.settle()?;
            if let Some(ended) = self.process.as_ref().expect("runs").has_ended() {
                ensure!(self.may_stop, "the server ended by itself: {ended:?}");
                self.end(true)?;
                self.connect_all();
                self.heal();
            }
            let is_at_rest = self.clients.iter().all(|client| {
                client.waiting.front().is_none_or(|it| it.op.may_wait() && it.deadline_ms.is_none())
            });
            if is_at_rest && self.now_ms() + REST_MS >= end_ms + 3000 {
                break;
            }
            if self.world.clock.advance_to_next_timer().is_none() {
                break;
            }
        }
        // Reads behind those that wait, and time for what looks at the state by the clock.
        for _ in 0..50 {
            self.world.clock.advance_to_next_timer();
            self.settle()?;
        }
        for client in &self.clients {
            if let Some(sent) = client.waiting.front() {
                let may_wait =
                    sent.op.may_wait() && sent.deadline_ms.is_none_or(|it| it + 100 > self.now_ms());
                ensure!(may_wait, "client {} was never answered: {}", client.number, sent.words);
            }
        }
        Ok(())
    }

    /// Whoever is still blocked has nothing to be served with.
    pub(super) fn verify_liveness(&mut self) -> Result<(), String> {
        let mut inspector = self.inspector();
        for at in 0..self.clients.len() {
            let Some(sent) = self.clients[at].waiting.front() else { continue };
            let (op, words) = (sent.op.clone(), sent.words.clone());
            match op {
                Op::Read { streams, .. } => {
                    for (stream, after) in streams {
                        self.nothing_after(&mut inspector, stream, after, &words)?;
                    }
                }
                Op::GroupRead { streams, .. } => {
                    for stream in streams {
                        self.nothing_new(&mut inspector, stream, &words)?;
                    }
                }
                Op::SideRead { key, .. } => self.nothing_new(&mut inspector, key, &words)?,
                _ => {}
            }
        }
        self.hang_up(inspector);
        Ok(())
    }

    fn nothing_new(&mut self, inspector: &mut Client, key: &str, waiting: &str) -> Result<(), String> {
        let delivered = self.delivered(inspector, key)?;
        let delivered = delivered.ok_or(format!("this waits, and the group is gone: {waiting}"))?;
        self.nothing_after(inspector, key, delivered, waiting)
    }

    fn nothing_after(
        &mut self,
        inspector: &mut Client,
        key: &str,
        after: Id,
        waiting: &str,
    ) -> Result<(), String> {
        let found = self.ask(inspector, &format!("XRANGE {key} ({after} + COUNT 1"))?;
        ensure!(found.elements().is_empty(), "this waits, and there is {found}: {waiting}");
        Ok(())
    }
}
