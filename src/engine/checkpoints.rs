//! Checkpoints of an engine's partitions: the requests that wait for one, and the figures of INFO
//! persistence.

use crate::command::value::server::CheckpointCommand;
use crate::engine::engine::Engine;
use crate::engine::report;
use crate::engine::statistics::Spike;
use crate::engine::submission::{CheckpointAnswer, Outcome};
use crate::model::log::{LogIndex, PartitionId};
use crate::model::reply::ReplyError;
use crate::model::request::RequestId;
use crate::model::time::TimeMs;
use crate::observe::latency::Event;
use crate::replication::committer::CommitError;
use crate::state::answer::Answer;
use crate::state::image;

pub struct Checkpoints {
    /// Requests that wait for the next checkpoint.
    askers: Vec<RequestId>,
    /// Requests that wait for the checkpoint in progress.
    asked: Vec<RequestId>,
    pub log: CheckpointLog,
    /// Writes applied before the checkpoint in progress began.
    changes_begun: u64,
    /// DEBUG RELOAD requests; they wait until nothing is in flight.
    pub reloads: Vec<RequestId>,
    pub backoff: Backoff,
}

/// The pause before the next checkpoint that nobody has asked for: none, and after failures 1 s, 2 s, 4 s up to
/// [`Backoff::PAUSE_MS_MAX`]. A checkpoint that does not fit costs as much as one that does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    pause_ms: u64,
    /// By the monotonic clock.
    until_ms: u64,
}

impl Backoff {
    const PAUSE_MS_MIN: u64 = 1000;
    const PAUSE_MS_MAX: u64 = 256_000;

    pub fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.until_ms
    }

    fn after_failure(self, now_ms: u64) -> Backoff {
        let pause_ms = (self.pause_ms * 2).clamp(Self::PAUSE_MS_MIN, Self::PAUSE_MS_MAX);
        Backoff { pause_ms, until_ms: now_ms + pause_ms }
    }
}

/// Checkpoint figures for INFO persistence.
#[derive(Debug, Clone, Default)]
pub struct CheckpointLog {
    /// Start of the checkpoint in progress, by the monotonic clock.
    pub began_ms: Option<u64>,
    /// Duration of the last checkpoint; `None`: there was none.
    pub last_seconds: Option<u64>,
    pub failed: bool,
    /// Writes that the last checkpoint holds.
    pub changes: u64,
    /// End of the last checkpoint.
    pub finished_at: TimeMs,
}

impl CheckpointLog {
    /// Seconds since the checkpoint in progress began; −1 without one.
    pub fn running_seconds(&self, now_ms: u64) -> i64 {
        self.began_ms.map_or(-1, |began_ms| (now_ms.saturating_sub(began_ms) / 1000) as i64)
    }

    /// Duration of the last checkpoint in seconds; −1 without one.
    pub fn last_seconds(&self) -> i64 {
        self.last_seconds.map_or(-1, |seconds| seconds as i64)
    }
}

impl Checkpoints {
    pub fn new(now: TimeMs) -> Checkpoints {
        let log =
            CheckpointLog { began_ms: None, last_seconds: None, failed: false, changes: 0, finished_at: now };
        Checkpoints {
            askers: Vec::new(),
            asked: Vec::new(),
            log,
            changes_begun: 0,
            reloads: Vec::new(),
            backoff: Backoff::default(),
        }
    }

    pub fn is_running(&self) -> bool {
        self.log.began_ms.is_some()
    }

    /// Outcomes of all waiting requests after the log has failed.
    pub fn abandon(&mut self, error: &ReplyError) -> Vec<Outcome> {
        let waiting = self.askers.drain(..).chain(self.asked.drain(..)).chain(self.reloads.drain(..));
        waiting.map(|request| Outcome::of(request, error.clone())).collect()
    }
}

/// BGSAVE and BGREWRITEAOF, and SAVE inside a transaction.
pub(super) fn begin(engine: &mut Engine, command: CheckpointCommand) -> CheckpointAnswer {
    let is_running = engine.checkpoints.is_running();
    if is_running && matches!(command, CheckpointCommand::BackgroundSave { schedule: false }) {
        return CheckpointAnswer::AlreadyRunning;
    }
    engine.wakers.checkpoint.notify();
    if is_running { CheckpointAnswer::Scheduled } else { CheckpointAnswer::Started }
}

/// SAVE. Redis refuses it while a checkpoint is being written; here no client may have requested that one.
pub(super) fn save(engine: &mut Engine, request: RequestId) {
    engine.checkpoints.askers.push(request);
    engine.wakers.checkpoint.notify();
}

/// A checkpoint has begun.
pub(super) fn note_begin(engine: &mut Engine) {
    engine.checkpoints.asked = std::mem::take(&mut engine.checkpoints.askers);
    engine.checkpoints.log.began_ms = Some(engine.context.clock.monotonic_ms());
    engine.checkpoints.changes_begun = report::changes(engine);
}

/// Images up to these entries are durable: nobody asks any more for what has changed since earlier ones.
pub(super) fn note_durable(engine: &mut Engine, images: &[(PartitionId, LogIndex)]) {
    for (id, index) in images {
        image::forget_before(engine.partition_mut(*id).machine_mut(), *index);
    }
}

/// A checkpoint was written, or failed because of the disk. After a failure the journal is unchanged, nothing
/// is lost, and the next checkpoint may succeed.
pub(super) fn note_end(engine: &mut Engine, result: &Result<(), CommitError>) {
    let now_ms = engine.context.clock.monotonic_ms();
    let now = engine.context.wall_time();
    let log = &mut engine.checkpoints.log;
    let took_ms = now_ms - log.began_ms.take().unwrap_or(now_ms);
    log.last_seconds = Some(took_ms / 1000);
    log.failed = result.is_err();
    let reply = match result {
        Ok(()) => {
            log.finished_at = now;
            log.changes = engine.checkpoints.changes_begun;
            engine.statistics.checkpoints += 1;
            engine.checkpoints.backoff = Backoff::default();
            Answer::Done
        }
        Err(error) => {
            engine.checkpoints.backoff = engine.checkpoints.backoff.after_failure(now_ms);
            let next_in_ms = engine.checkpoints.backoff.pause_ms;
            tracing::error!(%error, next_in_ms, "the checkpoint failed");
            Answer::Refused(ReplyError::owned(format!("ERR checkpoint failed: {error}")))
        }
    };
    engine.delivery.spikes.push(Spike { event: Event::Checkpoint, nanoseconds: took_ms * 1_000_000 });
    for request in std::mem::take(&mut engine.checkpoints.asked) {
        engine.deliver(Outcome::of(request, reply.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_that_fails_is_tried_ever_more_seldom() {
        let mut backoff = Backoff::default();
        let (mut now_ms, mut pauses) = (5000, Vec::new());
        assert!(backoff.is_over(now_ms));
        for _ in 0..12 {
            backoff = backoff.after_failure(now_ms);
            assert!(!backoff.is_over(now_ms + backoff.pause_ms - 1));
            now_ms += backoff.pause_ms;
            assert!(backoff.is_over(now_ms));
            pauses.push(backoff.pause_ms / 1000);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 256]);
    }
}
