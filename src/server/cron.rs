//! What the server does by the clock: deleting and forgetting what is due, closing idle connections, checkpoints, statistics.

use crate::command::value::Write;
use crate::command::value::key::KeyWrite;
use crate::command::value::server::CheckpointCommand;
use crate::model::log::PartitionId;
use crate::model::reply::Reply;
use crate::observe::latency::Event;
use crate::replication::committer::CommitError;
use crate::server::connection::Hold;
use crate::server::ticket::Ticket;
use crate::server::worker::Worker;
use std::cell::Cell;
use std::time::Duration;

/// Between two samples of the rates that INFO tells (Redis `run_with_period(100)`).
const SAMPLE_MS: u64 = 100;

/// Between two looks at every connection, and at the journal.
const LOOK_MS: u64 = 1000;

/// Keys that one op deletes at the most, so that a round stays short.
const EXPIRE_LIMIT: u32 = 1000;

/// Idempotent ids that one op forgets at the most, and how long they are left when they are due.
const FORGET_LIMIT: u32 = 10_000;
const FORGET_AFTER_MS: u64 = 1000;

/// A client that must log in and does not is disconnected (reliability P3).
const LOGIN_TIMEOUT_MS: u64 = 60_000;

/// For the greeting of TLS: until then a client costs a slot and says nothing.
const GREETING_TIMEOUT_MS: u64 = 10_000;

/// How long a connection that is to be closed waits for a client that takes nothing of what is left to send.
const LINGER_MS: u64 = 10_000;

/// What INFO persistence tells of checkpoints.
pub struct CheckpointLog {
    /// Milliseconds of the worker's clock, while one is being written.
    began_ms: Cell<Option<u64>>,
    /// That the last one took; −1: there was none.
    pub last_seconds: Cell<i64>,
    pub failed: Cell<bool>,
    /// Writes that the last one holds.
    pub changes: Cell<u64>,
}

impl Default for CheckpointLog {
    fn default() -> Self {
        CheckpointLog {
            began_ms: Cell::new(None),
            last_seconds: Cell::new(-1),
            failed: Cell::new(false),
            changes: Cell::new(0),
        }
    }
}

impl CheckpointLog {
    /// Seconds since the one at hand was begun; −1: there is none.
    pub fn running_seconds(&self, now_ms: u64) -> i64 {
        self.began_ms.get().map_or(-1, |began_ms| (now_ms.saturating_sub(began_ms) / 1000) as i64)
    }
}

/// Something that is done from time to time.
struct Every {
    period_ms: u64,
    due_ms: u64,
}

impl Every {
    fn new(period_ms: u64) -> Every {
        Every { period_ms, due_ms: 0 }
    }

    /// Whether it is time, by a clock that only goes on. What was missed is not caught up with.
    fn is_due(&mut self, now_ms: u64) -> bool {
        let is_due = now_ms >= self.due_ms;
        if is_due {
            self.due_ms = now_ms + self.period_ms;
        }
        is_due
    }
}

impl Worker {
    /// Goes round `hz` times a second. What is due more seldom is done in the first round after it.
    pub async fn run_cron(&self) {
        let (mut sample, mut look) = (Every::new(SAMPLE_MS), Every::new(LOOK_MS));
        loop {
            let hz = self.config.borrow().hz;
            tokio::time::sleep(Duration::from_millis(1000 / u64::from(hz))).await;
            if self.cron_paused.get() {
                continue;
            }
            self.delete_expired();
            self.forget_ids();
            self.end_pause_if_over();
            self.evict_clients();
            let now_ms = self.clock.monotonic_ms();
            if sample.is_due(now_ms) {
                self.metrics.tick(now_ms);
                self.stopwatch.adjust();
            }
            if look.is_due(now_ms) {
                self.close_idle_connections();
                self.want_checkpoint_if_due();
            }
        }
    }

    /// Has the machines delete what is due. The op is logged, so that replicas agree on when a key went.
    /// Not while writes are paused: then the data stays as it is (Redis `PAUSE_ACTION_EXPIRE`).
    fn delete_expired(&self) {
        let is_paused = self.pause.is_on(self.clock.monotonic_ms());
        if is_paused || !self.expires_actively.get() || self.latch.is_tripped() || self.expiring.get() > 0 {
            return;
        }
        let now = self.now();
        for id in (0..self.router.partitions()).map(PartitionId) {
            let due = self.partition(id).borrow().machine().next_deadline();
            if due.is_some_and(|at| at <= now) {
                self.expiring.set(self.expiring.get() + 1);
                let write = Write::Key(KeyWrite::DeleteExpired { limit: EXPIRE_LIMIT });
                self.write(id, 0, &write, Ticket::Expired);
            }
        }
    }

    /// Has the machines forget idempotent ids that have been due for a second, so that a steady stream of them costs an
    /// op a second. An id that is due is found by nobody already; this gives its memory back, on all replicas at the same
    /// place of the log.
    fn forget_ids(&self) {
        if !self.expires_actively.get() || self.latch.is_tripped() || self.forgetting.get() > 0 {
            return;
        }
        let now = self.now();
        for id in (0..self.router.partitions()).map(PartitionId) {
            let due = self.partition(id).borrow().machine().next_forgetting();
            if due.is_some_and(|at| now.since(at) >= FORGET_AFTER_MS) {
                self.forgetting.set(self.forgetting.get() + 1);
                let write = Write::Key(KeyWrite::ForgetIds { limit: FORGET_LIMIT });
                self.write(id, 0, &write, Ticket::Forgotten);
            }
        }
    }

    /// A [`KeyWrite::DeleteExpired`] was applied.
    pub fn expired(&self, reply: &Reply, nanoseconds: u64) {
        self.metrics.expire_nanoseconds.add(nanoseconds);
        self.note_event(Event::ExpireCycle, nanoseconds);
        self.expiring.set(self.expiring.get() - 1);
        if let Reply::Integer(count) = reply {
            self.metrics.expired_keys.add(*count as u64);
        }
    }

    /// A [`KeyWrite::ForgetIds`] was applied.
    pub fn forgotten(&self) {
        self.forgetting.set(self.forgetting.get() - 1);
    }

    fn end_pause_if_over(&self) {
        let until_ms = self.pause.until_ms();
        if until_ms != 0 && self.clock.monotonic_ms() >= until_ms {
            self.pause.end();
        }
    }

    /// Closes the largest clients while all of them together take more than `maxmemory-clients` (Redis 7.0 `evictClients`;
    /// reliability P3, M1). CLIENT NO-EVICT keeps one from it.
    fn evict_clients(&self) {
        let limit = self.config.borrow().maxmemory_clients;
        if limit == 0 {
            return;
        }
        let connections = self.connections();
        let open = || connections.values().filter(|connection| !connection.is_closing());
        let mut total: usize = open().map(|connection| self.client_memory(connection)).sum();
        if total as u64 <= limit {
            return;
        }
        let mut largest: Vec<_> = open()
            .filter(|connection| !connection.session.borrow().no_evict)
            .map(|connection| (self.client_memory(connection), connection))
            .collect();
        largest.sort_unstable_by_key(|(bytes, connection)| (std::cmp::Reverse(*bytes), connection.id));
        for (bytes, connection) in largest {
            if total as u64 <= limit {
                return;
            }
            tracing::warn!(peer = %connection.peer, bytes, "clients take more than maxmemory-clients; closing the largest");
            connection.close_unanswered();
            self.metrics.evicted_clients.add(1);
            total -= bytes;
        }
    }

    fn close_idle_connections(&self) {
        let now_ms = self.clock.monotonic_ms();
        let timeout_ms = self.config.borrow().timeout_seconds.saturating_mul(1000);
        for connection in self.connections().values() {
            let session = connection.session.borrow();
            let (subscribed, is_monitoring) = (session.subscriptions > 0, session.is_monitoring);
            let waiting = self.waiters.borrow().of_connection(connection.id).is_some();
            let idle_ms = now_ms.saturating_sub(connection.last_active_ms.get());
            let login_is_late = !self.is_let_in(&session) && idle_ms > LOGIN_TIMEOUT_MS;
            drop(session);
            // Redis never times out subscribers, monitors and blocked clients, to which those belong that a pause holds
            // (`clientsCronHandleTimeout`).
            let is_expected_to_be_idle =
                subscribed || waiting || connection.hold.get() == Hold::Paused || is_monitoring;
            let idle_too_long = timeout_ms > 0 && idle_ms > timeout_ms && !is_expected_to_be_idle;
            let age_ms = now_ms.saturating_sub(connection.created_at_ms);
            let greeting_is_late = connection.is_greeting.get() && age_ms > GREETING_TIMEOUT_MS;
            let lingers = connection.is_closing() && idle_ms > LINGER_MS;
            // One that has sent much behind its blocked read is not read any further: its end is seen only here.
            let has_left = waiting && connection.has_peer_closed();
            if idle_too_long || login_is_late || greeting_is_late || lingers || has_left {
                tracing::debug!(peer = %connection.peer, idle_ms, "closing idle connection");
                connection.close();
            } else if self.is_over_output_limit(connection, subscribed) {
                self.cut_off(connection);
            }
        }
    }

    fn want_checkpoint_if_due(&self) {
        let limit = self.config.borrow().checkpoint_journal_bytes;
        if self.committer().is_checkpoint_due(limit) {
            self.checkpoint_wanted.notify_one();
        }
    }

    /// The reply to BGSAVE and BGREWRITEAOF, and to SAVE inside a transaction.
    pub fn begin_checkpoint(&self, command: CheckpointCommand) -> Reply {
        let is_running = self.checkpointing.get();
        let text = match command {
            CheckpointCommand::BackgroundSave { schedule: false } if is_running => {
                return Reply::error("ERR Background save already in progress");
            }
            CheckpointCommand::BackgroundSave { .. } if is_running => "Background saving scheduled",
            CheckpointCommand::BackgroundSave { .. } => "Background saving started",
            CheckpointCommand::Rewrite if is_running => "Background append only file rewriting scheduled",
            CheckpointCommand::Rewrite => "Background append only file rewriting started",
            CheckpointCommand::Save => "OK",
        };
        self.checkpoint_wanted.notify_one();
        Reply::Status(text.into())
    }

    /// With relaxed durability, syncs what has waited for its interval, until that fails.
    pub async fn run_syncs(&self) -> CommitError {
        loop {
            match self.committer().sync_due_in() {
                Some(wait) => tokio::time::sleep(wait).await,
                // Every commit syncs.
                None => std::future::pending().await,
            }
            if let Err(error) = self.committer().sync_if_due().await {
                return error;
            }
        }
    }

    /// Writes a checkpoint whenever one is wanted. One that fails because of the disk's state leaves the journal as it
    /// is: nothing is lost, and the next one may succeed.
    pub async fn run_checkpoints(&self) -> CommitError {
        loop {
            self.checkpoint_wanted.notified().await;
            let asked = self.checkpoint_askers.take();
            self.checkpointing.set(true);
            let (began_ms, changes) = (self.clock.monotonic_ms(), self.changes());
            self.checkpoints.began_ms.set(Some(began_ms));
            let result =
                self.committer().checkpoint(&|id| self.partition(id).borrow().machine().clone()).await;
            self.checkpointing.set(false);
            let took_ms = self.clock.monotonic_ms() - began_ms;
            self.checkpoints.began_ms.set(None);
            self.checkpoints.last_seconds.set((took_ms / 1000) as i64);
            self.checkpoints.failed.set(result.is_err());
            self.note_event(Event::Checkpoint, took_ms * 1_000_000);
            let reply = match result {
                Ok(()) => {
                    self.last_checkpoint_ms.set(self.now().0);
                    self.metrics.checkpoints.add(1);
                    self.checkpoints.changes.set(changes);
                    Reply::OK
                }
                Err(error) if self.latch.is_tripped() => return error,
                Err(error) => {
                    tracing::error!(%error, "the checkpoint failed");
                    Reply::Error(crate::model::reply::ReplyError::owned(format!(
                        "ERR checkpoint failed: {error}"
                    )))
                }
            };
            for place in asked {
                self.answer_late(&place, &reply);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seldom_is_done_in_the_first_round_after_it_is_due() {
        let mut every = Every::new(100);
        let done: Vec<u64> =
            (1..=100).map(|round| round * 70).filter(|&now_ms| every.is_due(now_ms)).collect();
        assert_eq!(done[..4], [70, 210, 350, 490]);
        let mut every = Every::new(100);
        let rounds = (1..=500).filter(|round| every.is_due(round * 2)).count();
        assert_eq!(rounds, 10);
    }
}
