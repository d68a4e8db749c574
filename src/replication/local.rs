//! The committer of a node without a cluster: an entry is committed when it is durable in the journal.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::base::latch::Latch;
use crate::env::fs::Fs;
use crate::model::log::{LogId, LogIndex, PartitionId, Term};
use crate::replication::committer::{
    Applier, CommitError, CommitterOptions, Durability, FlushPolicy, OpenError,
};
use crate::state::checkpoint;
use crate::state::machine::Machine;
use crate::storage::checkpoint::{CheckpointMeta, CheckpointStore};
use crate::storage::data_dir::DataDir;
use crate::storage::journal::error::JournalError;
use crate::storage::journal::journal::{Journal, SyncHandle};
use crate::storage::journal::record::RecordKind;

/// Lives on the worker's thread; nothing is borrowed across an await.
pub struct LocalCommitter {
    journal: RefCell<Journal>,
    /// Appended entries that are not applied yet, oldest first.
    pending: RefCell<VecDeque<(PartitionId, LogIndex)>>,
    checkpoints: CheckpointStore,
    latch: Latch,
    durability: Durability,
    pace: Cell<Pace>,
    flusher: RefCell<Option<mpsc::Sender<FlushJob>>>,
    synced_at: Cell<Instant>,
    /// [`Journal::bytes_appended`] when the newest checkpoint was begun.
    checkpoint_mark: Cell<u64>,
}

/// Entries' bytes that are read at once at recovery.
const RECOVERY_BYTES: usize = 4 << 20;

impl LocalCommitter {
    pub fn open(
        fs: Arc<dyn Fs>,
        data_dir: &DataDir,
        options: CommitterOptions,
        latch: Latch,
    ) -> Result<LocalCommitter, OpenError> {
        let journal_options = data_dir.journal_options(options.journal);
        let (journal, recovered) = Journal::open(Arc::clone(&fs), &data_dir.journal(), journal_options)?;
        tracing::info!(records = recovered.records, bytes = recovered.bytes, "read the journal");
        Ok(LocalCommitter {
            journal: RefCell::new(journal),
            pending: RefCell::default(),
            checkpoints: CheckpointStore::new(fs, &data_dir.checkpoint()),
            latch,
            durability: options.durability,
            pace: Cell::new(Pace::new(options.flush)),
            flusher: RefCell::default(),
            synced_at: Cell::new(Instant::now()),
            checkpoint_mark: Cell::new(0),
        })
    }

    /// Checkpoint, then the journal from there on: everything in it is durable, so all of it is committed.
    pub fn recover(&self, applier: &dyn Applier) -> Result<(), OpenError> {
        let partitions = self.journal.borrow().partitions();
        for partition in (0..partitions).map(PartitionId) {
            self.recover_partition(applier, partition)?;
        }
        Ok(())
    }

    fn recover_partition(&self, applier: &dyn Applier, partition: PartitionId) -> Result<(), OpenError> {
        let mut journal = self.journal.borrow_mut();
        let purged = journal.log(partition).purged().index;
        let mut index = LogIndex::default();
        let mut machine = Machine::new();
        if let Some(found) = self.checkpoints.load(partition)? {
            let log_id = found.meta.log_id;
            index = log_id.index;
            machine = checkpoint::decode(&found.image).map_err(|source| OpenError::Image {
                partition,
                index,
                source,
            })?;
            if machine.applied() != index {
                return Err(OpenError::OtherImage { partition, index, found: machine.applied() });
            }
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
                match record.kind {
                    RecordKind::Entry => applier
                        .apply_foreign(partition, index, &record.payload)
                        .map_err(|source| OpenError::Entry { partition, index, source })?,
                    _ => applier.skip(partition, index),
                }
            }
        }
        assert_eq!(applier.applied(partition), last, "every entry was applied");
        Ok(())
    }

    pub fn append(&self, partition: PartitionId, entry: &[u8]) {
        let mut journal = self.journal.borrow_mut();
        let last = journal.log(partition).last();
        // A node without a cluster stays in the term that its log is in.
        let log_id = LogId { term: last.term.max(Term(1)), index: last.index.next() };
        journal.append(partition, log_id, RecordKind::Entry, entry);
        self.pending.borrow_mut().push_back((partition, log_id.index));
    }

    /// May be dropped while it waits: nothing is forgotten, the next call goes on.
    pub async fn commit(&self, applier: &dyn Applier) -> Result<(), CommitError> {
        let entries = self.pending.borrow().len();
        if entries == 0 {
            return Ok(());
        }
        self.write()?;
        match self.durability {
            Durability::Fsync => self.sync().await?,
            Durability::Relaxed { .. } => {}
        }
        for _ in 0..entries {
            let front = self.pending.borrow_mut().pop_front();
            let (partition, index) = front.expect("only a commit takes from what is pending");
            applier.apply_own(partition, index);
        }
        Ok(())
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

    pub async fn stop(&self) -> Result<(), CommitError> {
        self.write()?;
        self.sync().await
    }

    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.journal.borrow().bytes_appended() - self.checkpoint_mark.get()
    }

    /// One partition after the other, each image written on a thread of its own.
    pub async fn checkpoint(&self, applier: &dyn Applier) -> Result<(), CommitError> {
        let mark = self.journal.borrow().bytes_appended();
        let partitions = self.journal.borrow().partitions();
        for partition in (0..partitions).map(PartitionId) {
            let applied = applier.applied(partition);
            let log_id = match self.journal.borrow().log(partition) {
                log if applied <= log.purged().index => continue,
                log => log.log_id(applied).expect("an applied entry that is not purged is in the log"),
            };
            let machine = applier.image(partition);
            // Relaxed durability applies before it syncs. A checkpoint never knows more than the journal below it.
            self.write()?;
            self.sync().await?;
            self.write_checkpoint(partition, log_id, machine).await?;
            self.journal.borrow_mut().purge(partition, log_id);
        }
        self.checkpoint_mark.set(mark);
        // The purge records are durable before files go.
        self.write()?;
        self.sync().await
    }

    async fn write_checkpoint(
        &self,
        partition: PartitionId,
        log_id: LogId,
        machine: Machine,
    ) -> Result<(), CommitError> {
        let store = self.checkpoints.clone();
        let (done, result) = oneshot::channel();
        thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || {
                let started = Instant::now();
                let meta = CheckpointMeta { partition, log_id, membership: Vec::new() };
                let written = store.write(&meta, &|out| checkpoint::encode(&machine, out));
                if let Ok(bytes) = &written {
                    tracing::info!(
                        partition = partition.0,
                        index = log_id.index.0,
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
        written?;
        Ok(())
    }

    fn write(&self) -> Result<(), CommitError> {
        self.check_latch()?;
        let result = self.journal.borrow_mut().write();
        self.trip_on_error(result)
    }

    /// Makes durable what is written.
    async fn sync(&self) -> Result<(), CommitError> {
        self.check_latch()?;
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
            let result = self.journal.borrow_mut().complete_sync(handle, outcome);
            self.trip_on_error(result)?;
        }
        self.synced_at.set(Instant::now());
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

    fn check_latch(&self) -> Result<(), CommitError> {
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
#[path = "local_test.rs"]
mod tests;
