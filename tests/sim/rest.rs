//! What must hold between two steps, and once nothing fails any more.

use super::client::{Client, Id, Op};
use super::knowledge::{Woken, ensure};
use super::leases::LEASED;
use super::run::Run;

/// How long everything has to come to rest once nothing fails any more.
pub const REST_MS: u64 = 20_000;

/// A read that times out is answered after this time at the latest.
const TIMEOUT_LATE_MS: u64 = 1;

/// A read that an entry had no room for looks at the state once more within this time.
const LOOK_MS: u64 = 10;

/// A read with CLAIM has what is claimable after this time at the latest.
const CLAIM_LATE_MS: u64 = 100;

impl Run {
    /// Lets everything happen that happens without time, and looks at who was served.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.end_glitch_in_time();
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
        let waits_at = |op: &Op, stream, group| {
            op.queue().is_some_and(|(streams, its)| its == group && streams.contains(&stream))
        };
        for Woken { stream, group, blocked_since: since } in std::mem::take(&mut self.knowledge.woken) {
            let waits = |client: &&Client| {
                client.blocked_since.is_some_and(|earlier| earlier < since)
                    && client.waiting.front().is_some_and(|it| waits_at(&it.op, stream, group))
            };
            if let Some(client) = self.clients.iter().find(waits).filter(|_| self.settings.serves_in_order())
            {
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
        let (now_ms, is_under_way) = (self.now_ms(), self.is_anything_under_way());
        let is_held = self.process.as_ref().is_some_and(|process| process.holds_clients());
        for client in &mut self.clients {
            let is_blocked = client.waiting.len() == 1
                && client.is_connected()
                && !client.has_unsent()
                && client.waiting[0].op.may_wait();
            if is_blocked && !is_held && client.blocked_since.is_none() {
                client.blocked_since = Some(self.looks);
            }
            // A server that stops after a fault ends no reads.
            if is_blocked && !is_under_way && !self.may_stop {
                let since_ms = *client.blocked_ms.get_or_insert(now_ms);
                let timeout_ms = client.waiting[0].timeout_ms;
                ensure!(
                    timeout_ms.is_none_or(|timeout_ms| now_ms <= since_ms + timeout_ms + TIMEOUT_LATE_MS),
                    "client {} has waited since {since_ms} ms: {}",
                    client.number,
                    client.waiting[0].words
                );
            }
        }
        Ok(())
    }

    fn is_anything_under_way(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.is_idle())
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
                client.waiting.front().is_none_or(|it| it.op.may_wait() && it.timeout_ms.is_none())
            });
            if is_at_rest && self.now_ms() + REST_MS >= end_ms + 3000 {
                break;
            }
            if self.world.clock.advance_to_next_timer().is_none() {
                break;
            }
        }
        // Reads behind those that wait, and time for what looks at the state by the clock.
        let has_a_time = |client: &Client| client.waiting.front().is_some_and(|it| it.timeout_ms.is_some());
        let mut turns = 0;
        while turns < 50 || self.is_anything_under_way() || self.clients.iter().any(has_a_time) {
            if turns == 10_000 {
                break;
            }
            self.world.clock.advance_to_next_timer();
            self.settle()?;
            turns += 1;
        }
        for client in &self.clients {
            if let Some(sent) = client.waiting.front() {
                let may_wait = sent.op.may_wait() && sent.timeout_ms.is_none();
                ensure!(may_wait, "client {} was never answered: {}", client.number, sent.words);
            }
        }
        ensure!(turns < 10_000, "what was sent to the log is never applied");
        Ok(())
    }

    /// Comes to rest for a moment, if it can, and looks whether whoever is blocked has nothing to be served
    /// with.
    pub(super) fn look_at_readers(&mut self) -> Result<(), String> {
        for _ in 0..100 {
            self.settle()?;
            if !self.is_anything_under_way() {
                break;
            }
            self.world.clock.advance_to_next_timer();
        }
        self.world.clock.advance(LOOK_MS);
        self.settle()?;
        let has_ended = self.process.as_ref().is_none_or(|process| process.has_ended().is_some());
        let is_asking = |client: &Client| client.waiting.front().is_some_and(|it| !it.op.may_wait());
        if self.may_stop || has_ended || self.is_anything_under_way() || self.clients.iter().any(is_asking) {
            return Ok(());
        }
        self.counters.looks += 1;
        self.verify_liveness()
    }

    /// Whoever is still blocked has nothing to be served with.
    pub(super) fn verify_liveness(&mut self) -> Result<(), String> {
        let mut inspector = self.inspector();
        for at in 0..self.clients.len() {
            let Some(sent) = self.clients[at].waiting.front() else { continue };
            let (op, words, left) = (sent.op.clone(), sent.words.clone(), self.clients[at].waiting.len());
            let judged = self.nothing_for(&mut inspector, &op, &words);
            if judged.is_err() {
                // What a client has left behind may have been executed since the last look, and a reply may
                // be behind a sync that the server makes itself.
                for _ in 0..10 {
                    self.settle()?;
                    if self.clients[at].waiting.len() < left {
                        break;
                    }
                    self.world.clock.advance(100);
                }
                if self.clients[at].waiting.len() == left {
                    return judged;
                }
            }
        }
        self.hang_up(inspector);
        Ok(())
    }

    fn nothing_for(&mut self, inspector: &mut Client, op: &Op, words: &str) -> Result<(), String> {
        match op {
            Op::Read { streams, .. } => {
                for &(stream, after) in streams {
                    self.nothing_after(inspector, stream, after, words)?;
                }
            }
            Op::SideRead { key, .. } => self.nothing_new(inspector, key, "g", words)?,
            op => {
                let Some((streams, group)) = op.queue() else { return Ok(()) };
                for stream in streams {
                    self.nothing_new(inspector, stream, group, words)?;
                }
            }
        }
        if let Op::LeaseRead { claim_ms: Some(claim_ms), .. } = op {
            let idle_ms = claim_ms + CLAIM_LATE_MS;
            let found = self.ask(inspector, &format!("XPENDING {LEASED} g IDLE {idle_ms} - + 1"))?;
            ensure!(found.elements().is_empty(), "this waits, and there is {found}: {words}");
        }
        Ok(())
    }

    fn nothing_new(
        &mut self,
        inspector: &mut Client,
        key: &str,
        group: &str,
        waiting: &str,
    ) -> Result<(), String> {
        let delivered = self.delivered(inspector, key, group)?;
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
