//! What both committers do with the disk: read it back, write and sync the journal by the flush policy, write checkpoints.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::base::latch::Latch;
use crate::base::wire::Malformed;
use crate::config::config::FlushPolicy;
use crate::env::fs::Fs;
use crate::env::priority;
use crate::model::log::{LogIndex, PartitionId};
use crate::replication::committer::{Applier, CommitError, CommitterOptions, Durability, OpenError};
use crate::state::checkpoint;
use crate::state::machine::Machine;
use crate::storage::checkpoint::{CheckpointMeta, CheckpointStore};
use crate::storage::data_dir::DataDir;
use crate::storage::journal::error::JournalError;
use crate::storage::journal::journal::{Journal, LogRecord, SyncHandle};
use crate::storage::journal::record::RecordKind;

/// Lives on the worker's thread; nothing is borrowed across an await.
pub struct Disk {
    journal: RefCell<Journal>,
    checkpoints: CheckpointStore,
    latch: Latch,
    durability: Durability,
    pace: Cell<Pace>,
    last_sync: Cell<Option<Duration>>,
    flusher: RefCell<Option<mpsc::Sender<FlushJob>>>,
    synced_at: Cell<Instant>,
    /// [`Journal::bytes_appended`] when the newest checkpoint was begun.
    checkpoint_mark: Cell<u64>,
    /// Of each partition's newest checkpoint.
    checkpoint_bytes: RefCell<Vec<u64>>,
}

/// What recovery meets beside entries of commands.
pub enum Met<'a> {
    Checkpoint(&'a CheckpointMeta),
    /// A membership or a blank entry.
    Record(&'a LogRecord),
}

/// Entries' bytes that are read at once at recovery.
const RECOVERY_BYTES: usize = 4 << 20;

impl Disk {
    pub fn open(
        fs: Arc<dyn Fs>,
        data_dir: &DataDir,
        options: CommitterOptions,
        latch: Latch,
    ) -> Result<Disk, OpenError> {
        let journal_options = data_dir.journal_options(options.journal);
        let (journal, recovered) = Journal::open(Arc::clone(&fs), &data_dir.journal(), journal_options)?;
        tracing::info!(records = recovered.records, bytes = recovered.bytes, "read the journal");
        Ok(Disk {
            journal: RefCell::new(journal),
            checkpoints: CheckpointStore::new(fs, &data_dir.checkpoint()),
            latch,
            durability: options.durability,
            pace: Cell::new(Pace::new(options.flush)),
            last_sync: Cell::new(None),
            flusher: RefCell::default(),
            synced_at: Cell::new(Instant::now()),
            checkpoint_mark: Cell::new(0),
            checkpoint_bytes: RefCell::new(vec![0; usize::from(data_dir.meta().partitions)]),
        })
    }

    pub fn journal(&self) -> &RefCell<Journal> {
        &self.journal
    }

    pub fn checkpoints(&self) -> &CheckpointStore {
        &self.checkpoints
    }

    pub fn latch(&self) -> &Latch {
        &self.latch
    }

    pub fn durability(&self) -> Durability {
        self.durability
    }

    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.journal.borrow().partitions()).map(PartitionId)
    }

    /// Checkpoint, then the journal from there on, up to its end. `met` is told of everything but commands.
    pub fn recover_partition(
        &self,
        applier: &dyn Applier,
        partition: PartitionId,
        met: &mut dyn FnMut(Met<'_>) -> Result<(), Malformed>,
    ) -> Result<(), OpenError> {
        let mut journal = self.journal.borrow_mut();
        let purged = journal.log(partition).purged().index;
        let mut index = LogIndex::default();
        let mut machine = Machine::new();
        if let Some(found) = self.checkpoints.load(partition)? {
            let log_id = found.meta.log_id;
            index = log_id.index;
            self.checkpoint_bytes.borrow_mut()[usize::from(partition.0)] = found.image.len() as u64;
            machine = checkpoint::decode(&found.image).map_err(|source| OpenError::Image {
                partition,
                index,
                source,
            })?;
            if machine.applied() != index {
                return Err(OpenError::OtherImage { partition, index, found: machine.applied() });
            }
            met(Met::Checkpoint(&found.meta)).map_err(|source| OpenError::Image {
                partition,
                index,
                source,
            })?;
            // Perhaps the node stopped before it had purged. If the checkpoint knows more than the journal, the journal
            // goes on behind it.
            journal.purge(partition, log_id);
        }
        if index < purged {
            return Err(OpenError::CheckpointMissing { partition, purged, index });
        }
        applier.install(partition, machine);
        let last = journal.log(partition).last().index;
        while index < last {
            for record in journal.read(partition, index.next()..last.next(), RECOVERY_BYTES)? {
                assert_eq!(record.log_id.index, index.next(), "the journal gives entry after entry");
                index = record.log_id.index;
                let applied = match record.kind {
                    RecordKind::Entry => applier.apply_foreign(partition, index, &record.payload),
                    _ => met(Met::Record(&record)).map(|()| applier.skip(partition, index)),
                };
                applied.map_err(|source| OpenError::Entry { partition, index, source })?;
            }
        }
        assert_eq!(applier.applied(partition), last, "every entry was applied");
        Ok(())
    }

    /// How long until [`Disk::sync_if_due`] has something to do; `None` if every commit syncs.
    pub fn sync_due_in(&self) -> Option<Duration> {
        match self.durability {
            Durability::Fsync => None,
            Durability::Relaxed { interval } => Some(interval.saturating_sub(self.synced_at.get().elapsed())),
        }
    }

    pub async fn sync_if_due(&self) -> Result<(), CommitError> {
        match self.durability {
            Durability::Relaxed { interval } if self.synced_at.get().elapsed() >= interval => {
                self.write()?;
                self.sync().await
            }
            _ => Ok(()),
        }
    }

    /// Journal bytes since the newest checkpoint was begun.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.journal.borrow().bytes_appended() - self.checkpoint_mark.get()
    }

    /// How long the latest sync took, if there was one since this was asked last.
    pub fn take_last_sync(&self) -> Option<Duration> {
        self.last_sync.take()
    }

    /// Bytes of the newest checkpoints of all partitions, about.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.checkpoint_bytes.borrow().iter().sum()
    }

    /// Where a checkpoint begins; give it to [`Disk::checkpoint_done`].
    pub fn checkpoint_begun(&self) -> u64 {
        self.journal.borrow().bytes_appended()
    }

    /// Every partition has its checkpoint, and its purge record is appended: files go when that is durable.
    pub async fn checkpoint_done(&self, mark: u64) -> Result<(), CommitError> {
        self.checkpoint_mark.set(mark);
        self.flush().await
    }

    pub async fn flush(&self) -> Result<(), CommitError> {
        self.write()?;
        self.sync().await
    }

    /// Writes a checkpoint of what is applied; `None` if the newest one is of just that. The journal is not purged.
    pub async fn checkpoint_partition(
        &self,
        applier: &dyn Applier,
        partition: PartitionId,
        membership: Vec<u8>,
    ) -> Result<Option<CheckpointMeta>, CommitError> {
        let applied = applier.applied(partition);
        let log_id = match self.journal.borrow().log(partition) {
            log if applied <= log.purged().index => return Ok(None),
            log => log.log_id(applied).expect("an applied entry that is not purged is in the log"),
        };
        let machine = applier.image(partition);
        // Relaxed durability applies before it syncs. A checkpoint never knows more than the journal below it.
        self.flush().await?;
        let meta = CheckpointMeta { partition, log_id, membership };
        self.write_checkpoint(meta.clone(), machine).await?;
        Ok(Some(meta))
    }

    /// Writes an image on a thread of its own: it takes as long as the disk does. Durable when this returns.
    pub async fn write_checkpoint(&self, meta: CheckpointMeta, machine: Machine) -> Result<(), CommitError> {
        let partition = usize::from(meta.partition.0);
        let store = self.checkpoints.clone();
        let (done, result) = oneshot::channel();
        thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || {
                priority::lower_own();
                let started = Instant::now();
                let written = store.write(&meta, &|out| checkpoint::encode(&machine, out));
                if let Ok(bytes) = &written {
                    tracing::info!(
                        partition = meta.partition.0,
                        index = meta.log_id.index.0,
                        bytes,
                        ms = started.elapsed().as_millis() as u64,
                        "wrote a checkpoint"
                    );
                }
                // Nobody listens when the node stops.
                let _ = done.send(written);
            })
            .map_err(CommitError::Thread)?;
        let written =
            result.await.map_err(|_| CommitError::Stopped { reason: "the checkpoint thread died".into() })?;
        self.checkpoint_bytes.borrow_mut()[partition] = written?;
        Ok(())
    }

    /// Hands what is appended to the operating system.
    pub fn write(&self) -> Result<(), CommitError> {
        self.check_latch()?;
        let result = self.journal.borrow_mut().write();
        self.trip_on_error(result)
    }

    /// Makes durable what is written.
    pub async fn sync(&self) -> Result<(), CommitError> {
        self.check_latch()?;
        // What is written while the sync runs has waited since then.
        let began = Instant::now();
        let handle = self.journal.borrow().sync_handle();
        if let Some(handle) = handle {
            let (handle, outcome, took) = if self.pace.get().inline {
                let started = Instant::now();
                let outcome = handle.run();
                (handle, outcome, started.elapsed())
            } else {
                self.sync_elsewhere(handle).await?
            };
            self.pace.set(self.pace.get().after(took));
            self.last_sync.set(Some(took));
            let result = self.journal.borrow_mut().complete_sync(handle, outcome);
            self.trip_on_error(result)?;
        }
        self.synced_at.set(began);
        Ok(())
    }

    async fn sync_elsewhere(
        &self,
        handle: SyncHandle,
    ) -> Result<(SyncHandle, Result<(), JournalError>, Duration), CommitError> {
        let (done, result) = oneshot::channel();
        let died = |_| CommitError::Stopped { reason: "the flusher thread died".into() };
        self.flusher()?.send(FlushJob { handle, done }).map_err(|_| died(()))?;
        match result.await {
            Ok(result) => Ok(result),
            Err(_) => {
                self.check_latch()?;
                Err(died(()))
            }
        }
    }

    fn flusher(&self) -> Result<mpsc::Sender<FlushJob>, CommitError> {
        let mut flusher = self.flusher.borrow_mut();
        if let Some(sender) = &*flusher {
            return Ok(sender.clone());
        }
        let (sender, jobs) = mpsc::channel();
        let latch = self.latch.clone();
        thread::Builder::new()
            .name("flusher".into())
            .spawn(move || run_flusher(&jobs, &latch))
            .map_err(CommitError::Thread)?;
        *flusher = Some(sender.clone());
        Ok(sender)
    }

    /// An error once something has failed for good.
    pub fn check_latch(&self) -> Result<(), CommitError> {
        match self.latch.reason() {
            Some(reason) => Err(CommitError::Stopped { reason }),
            None => Ok(()),
        }
    }

    fn trip_on_error(&self, result: Result<(), JournalError>) -> Result<(), CommitError> {
        result.inspect_err(|error| self.latch.trip(error.to_string()))?;
        Ok(())
    }
}

struct FlushJob {
    handle: SyncHandle,
    done: oneshot::Sender<(SyncHandle, Result<(), JournalError>, Duration)>,
}

/// Syncs one after the other until the committer is gone or a sync fails. It trips the latch itself, for whoever asked
/// may have stopped listening, and a later sync would succeed without the lost bytes (S2).
fn run_flusher(jobs: &mpsc::Receiver<FlushJob>, latch: &Latch) {
    while let Ok(job) = jobs.recv() {
        let started = Instant::now();
        let outcome = job.handle.run();
        let failed = outcome.is_err();
        if let Err(error) = &outcome {
            latch.trip(error.to_string());
        }
        let _ = job.done.send((job.handle, outcome, started.elapsed()));
        if failed {
            return;
        }
    }
}

/// Where to sync, from how long syncs take: on the worker it saves two thread switches per round, on a slow disk it
/// would stall every connection meanwhile.
#[derive(Debug, Clone, Copy)]
struct Pace {
    policy: FlushPolicy,
    inline: bool,
    average: Duration,
}

impl Pace {
    /// Above this average syncs move to the flusher, below half of it back.
    const INLINE_MAX: Duration = Duration::from_millis(1);

    fn new(policy: FlushPolicy) -> Pace {
        Pace { policy, inline: policy != FlushPolicy::Thread, average: Duration::ZERO }
    }

    /// A moving average over about 16 syncs.
    fn after(self, took: Duration) -> Pace {
        let average = (self.average * 15 + took.min(Duration::from_secs(10))) / 16;
        let inline = match self.policy {
            FlushPolicy::Inline => true,
            FlushPolicy::Thread => false,
            FlushPolicy::Auto if self.inline => average < Self::INLINE_MAX,
            FlushPolicy::Auto => average < Self::INLINE_MAX / 2,
        };
        if inline != self.inline {
            tracing::info!(average_us = average.as_micros() as u64, inline, "changed where syncs are made");
        }
        Pace { average, inline, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_move_to_a_thread_when_they_are_slow_and_back_when_they_are_not() {
        let mut pace = Pace::new(FlushPolicy::Auto);
        assert!(pace.inline);
        for _ in 0..20 {
            pace = pace.after(Duration::from_millis(5));
        }
        assert!(!pace.inline);
        for _ in 0..100 {
            pace = pace.after(Duration::from_micros(100));
        }
        assert!(pace.inline);
        assert!(!Pace::new(FlushPolicy::Thread).after(Duration::ZERO).inline);
    }
}
