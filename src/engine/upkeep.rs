//! Periodic work of an engine: compares its clock with the wall clock, deletes due keys, forgets idempotent
//! ids, passes settings to the machines.

use crate::command::value::Write;
use crate::command::value::key::KeyWrite;
use crate::engine::blocked_reads::BlockedId;
use crate::engine::blocking;
use crate::engine::checkpoints::Backoff;
use crate::engine::engine::{Engine, Tag};
use crate::engine::log_clock::Step;
use crate::engine::statistics::Spike;
use crate::engine::submission::{EngineAnswer, Outcome};
use crate::model::request::RequestId;
use crate::observe::latency::Event;
use crate::state::answer::Answer;
use crate::state::effects::{EventKind, KeyEvent};

/// Maximum keys that one op deletes, so that a round stays short.
const EXPIRE_LIMIT: u32 = 1000;

/// Maximum idempotent ids that one op forgets, and the time for which due ids are kept.
const FORGET_LIMIT: u32 = 10_000;
const FORGET_AFTER_MS: u64 = 1000;

/// Interval between two checks of the journal, and of its disk.
const LOOK_MS: u64 = 1000;

pub struct Upkeep {
    /// Ops in flight that delete due keys.
    pub expiring: u32,
    /// Ops in flight that forget idempotent ids.
    pub forgetting: u32,
    pub expires_actively: bool,
    /// CLIENT PAUSE of writes: data stays unchanged (Redis `PAUSE_ACTION_EXPIRE`).
    pub is_paused: bool,
    /// DEBUG PAUSE-CRON: no periodic work runs.
    pub is_held: bool,
    /// The frontend does not take deliveries: periodic work with outcomes pauses.
    pub is_crowded: bool,
    look: Every,
    look_at_disk: Every,
    was_disk_low: bool,
    /// WAITAOF: requests that wait for the next sync, each with its deadline by the monotonic clock.
    syncs: Vec<SyncWait>,
    /// Those that wait for the sync in progress: what was written before it covers them.
    syncing: Vec<SyncWait>,
}

/// A request, and its deadline in milliseconds of the monotonic clock.
type SyncWait = (RequestId, Option<u64>);

impl Default for Upkeep {
    fn default() -> Upkeep {
        Upkeep {
            expiring: 0,
            forgetting: 0,
            expires_actively: true,
            is_paused: false,
            is_held: false,
            is_crowded: false,
            look: Every::new(LOOK_MS),
            look_at_disk: Every::new(LOOK_MS),
            was_disk_low: false,
            syncs: Vec::new(),
            syncing: Vec::new(),
        }
    }
}

impl Upkeep {
    pub fn wait_for_sync(&mut self, request: RequestId, now_ms: u64, timeout_ms: u64) {
        let deadline_ms = (timeout_ms > 0).then(|| now_ms.saturating_add(timeout_ms));
        self.syncs.push((request, deadline_ms));
    }

    pub fn is_sync_awaited(&self) -> bool {
        !self.syncs.is_empty()
    }

    /// A sync begins. Requests that come while it runs wait for the next one.
    pub fn begin_sync(&mut self) {
        self.syncing.append(&mut self.syncs);
    }

    /// The sync has ended: returns the requests that waited for it.
    pub fn take_synced(&mut self) -> Vec<RequestId> {
        self.syncing.drain(..).map(|(request, _)| request).collect()
    }

    pub fn next_due_ms(&self) -> Option<u64> {
        self.syncs.iter().chain(&self.syncing).filter_map(|(_, deadline_ms)| *deadline_ms).min()
    }
}

/// Ends waits for a sync that have timed out.
pub(super) fn end_overdue_syncs(engine: &mut Engine) {
    let now_ms = engine.context.clock.monotonic_ms();
    let upkeep = &mut engine.upkeep;
    let is_over = |it: &mut SyncWait| it.1.is_some_and(|at| at <= now_ms);
    let mut over: Vec<SyncWait> = upkeep.syncs.extract_if(.., is_over).collect();
    over.extend(upkeep.syncing.extract_if(.., is_over));
    for (request, _) in over {
        engine.deliver(Outcome::of(request, EngineAnswer::Synced(false)));
    }
}

/// A periodic job.
pub struct Every {
    period_ms: u64,
    due_ms: u64,
}

impl Every {
    pub fn new(period_ms: u64) -> Every {
        Every { period_ms, due_ms: 0 }
    }

    /// Whether the period has passed, by the monotonic clock; if so, the next run is one period later. Missed
    /// runs are not made up.
    pub fn take_due(&mut self, now_ms: u64) -> bool {
        let is_due = now_ms >= self.due_ms;
        if is_due {
            self.due_ms = now_ms + self.period_ms;
        }
        is_due
    }
}

/// Compares log time with the wall clock, at every tick, whatever else is paused.
pub(super) fn look_at_clock(engine: &mut Engine) {
    let clock = &engine.context.clock;
    let wall_us = clock.now_micros();
    let Some(step) = engine.log_clock.look(wall_us, clock.monotonic_us()) else { return };
    match step {
        Step::Behind { by_us } => tracing::warn!(
            seconds = by_us / 1_000_000,
            "the wall clock is behind the time of the log, which runs on"
        ),
        Step::Ahead { by_us, believed_in_us } => tracing::warn!(
            seconds = by_us / 1_000_000,
            believed_in_seconds = believed_in_us / 1_000_000,
            "the wall clock has stepped ahead of the time of the log; it is believed if it stays there"
        ),
        Step::Believed { by_us } => {
            tracing::warn!(seconds = by_us / 1_000_000, "the time of the log has jumped to the wall clock");
            // What is pending may be idle for long enough now.
            let ids: Vec<BlockedId> = engine.blocked.all().map(|(id, _)| id).collect();
            ids.into_iter().for_each(|id| blocking::look_again(engine, id));
        }
        Step::Over => tracing::info!("the wall clock agrees with the time of the log again"),
    }
}

/// Looks at the disk about once a second, whatever else is paused.
pub(super) fn look_at_disk(engine: &mut Engine) {
    if !engine.upkeep.look_at_disk.take_due(engine.context.clock.monotonic_ms()) {
        return;
    }
    let (reserve, journal_file_bytes) = {
        let config = engine.context.config.borrow();
        (config.disk_reserve, config.journal_file_bytes)
    };
    engine.committer.look_at_space(reserve, journal_file_bytes);
    let is_low = engine.context.disk.is_low();
    if std::mem::replace(&mut engine.upkeep.was_disk_low, is_low) && !is_low {
        // A checkpoint that did not fit may fit now.
        engine.checkpoints.backoff = Backoff::default();
    }
}

/// Whether a checkpoint should be written unasked. While space is low, also for the space that it gives back.
fn is_checkpoint_due(engine: &Engine, now_ms: u64) -> bool {
    let limit = engine.context.config.borrow().checkpoint_journal_bytes;
    let is_worth_it = engine.committer.is_checkpoint_due(limit)
        || engine.context.disk.is_low() && engine.committer.is_checkpoint_worth_space();
    is_worth_it && engine.checkpoints.backoff.is_over(now_ms)
}

/// One tick; `hz` of them a second.
pub(super) fn tick(engine: &mut Engine) {
    if engine.upkeep.is_held || engine.upkeep.is_crowded {
        return;
    }
    delete_expired(engine);
    forget_ids(engine);
    engine.stopwatch.adjust();
    let now_ms = engine.context.clock.monotonic_ms();
    if engine.upkeep.look.take_due(now_ms)
        && !engine.checkpoints.is_running()
        && is_checkpoint_due(engine, now_ms)
    {
        engine.wakers.checkpoint.notify();
    }
}

/// Logs an op that deletes due keys, so that replicas agree on when a key was deleted.
fn delete_expired(engine: &mut Engine) {
    let upkeep = &engine.upkeep;
    let is_off = upkeep.is_paused || !upkeep.expires_actively || upkeep.expiring > 0;
    if is_off || engine.context.latch.is_tripped() {
        return;
    }
    let now = engine.now();
    for id in engine.ids() {
        if engine.partition(id).read().next_deadline().is_some_and(|at| at <= now) {
            engine.upkeep.expiring += 1;
            let write = Write::Key(KeyWrite::DeleteExpired { limit: EXPIRE_LIMIT });
            engine.write(id, 0, &write, Tag::Expired);
        }
    }
}

/// Deletes keys that reads have found due, without waiting for the tick, so that their events follow soon.
/// Not while writes are paused.
pub(super) fn delete_due(engine: &mut Engine, events: &[KeyEvent]) {
    if engine.upkeep.is_paused {
        return;
    }
    for event in events.iter().filter(|it| it.kind == EventKind::Due) {
        let write = Write::Key(KeyWrite::DeleteIfDue { key: &event.key });
        engine.write(engine.router.of_key(&event.key), event.database, &write, Tag::Internal);
    }
}

/// Logs an op that forgets idempotent ids. The ids have been due for a second, so a steady stream of them
/// costs one op per second. Requests never find a due id; this op frees its memory, on all replicas at the
/// same log position.
fn forget_ids(engine: &mut Engine) {
    let upkeep = &engine.upkeep;
    if !upkeep.expires_actively || upkeep.forgetting > 0 || engine.context.latch.is_tripped() {
        return;
    }
    let now = engine.now();
    for id in engine.ids() {
        let due = engine.partition(id).read().next_forgetting();
        if due.is_some_and(|at| now.since(at) >= FORGET_AFTER_MS) {
            engine.upkeep.forgetting += 1;
            let write = Write::Key(KeyWrite::ForgetIds { limit: FORGET_LIMIT });
            engine.write(id, 0, &write, Tag::Forgotten);
        }
    }
}

/// A [`KeyWrite::DeleteExpired`] was applied.
pub(super) fn expired(engine: &mut Engine, reply: &Answer, nanoseconds: u64) {
    engine.statistics.expire_nanoseconds += nanoseconds;
    engine.delivery.spikes.push(Spike { event: Event::ExpireCycle, nanoseconds });
    engine.upkeep.expiring -= 1;
    if let Answer::Integer(count) = reply {
        engine.statistics.expired_keys += *count as u64;
        // More are due: the next round goes on, between the work of clients. By the tick alone, half a million
        // keys would take a minute.
        if *count >= i64::from(EXPIRE_LIMIT) && !engine.upkeep.is_held && !engine.upkeep.is_crowded {
            delete_expired(engine);
        }
    }
}

/// Logs the stream settings where the machines have others. Node settings decide where `~` trims, and
/// idempotency settings decide what a new stream remembers, so replicas must agree on them.
pub(super) fn log_stream_settings(engine: &mut Engine) {
    let (entries, bytes, duration_s, ids) = {
        let config = engine.context.config.borrow();
        let (duration_s, ids) = (config.stream_idmp_duration, config.stream_idmp_maxsize);
        (config.stream_node_max_entries, config.stream_node_max_bytes, duration_s, ids)
    };
    for id in engine.ids() {
        let known = engine.partition(id).read().node_limits();
        if (known.entries, known.bytes) != (entries, bytes) {
            let write = Write::Key(KeyWrite::SetStreamNodeLimits { entries, bytes });
            engine.write(id, 0, &write, Tag::Internal);
        }
        let known = engine.partition(id).read().idempotency_limits();
        if (known.duration_s, known.ids) != (duration_s, ids) {
            let write = Write::Key(KeyWrite::SetIdempotencyLimits { duration_s, ids });
            engine.write(id, 0, &write, Tag::Internal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_frequent_jobs_run_on_the_first_tick_after_they_fall_due() {
        let mut every = Every::new(100);
        let done: Vec<u64> =
            (1..=100).map(|tick| tick * 70).filter(|&now_ms| every.take_due(now_ms)).collect();
        assert_eq!(done[..4], [70, 210, 350, 490]);
        let mut every = Every::new(100);
        let ticks = (1..=500).filter(|tick| every.take_due(tick * 2)).count();
        assert_eq!(ticks, 10);
    }
}
