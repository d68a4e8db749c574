//! The seam between a sealed batch and the machine: who decides that an entry is committed.
//!
//! Entries are appended, committed in rounds, and applied in the order of their partition's log. The owner of the
//! machines gives itself as an [`Applier`].

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::base::latch::Latch;
use crate::base::wire::Malformed;
use crate::config::config::{self, Config, FlushPolicy, Replication};
use crate::env::fs::Fs;
use crate::model::log::{LogIndex, PartitionId};
use crate::replication::disk::Disk;
use crate::replication::local::LocalCommitter;
use crate::replication::raft::committer::RaftCommitter;
use crate::state::machine::Machine;
use crate::storage::checkpoint::CheckpointError;
use crate::storage::data_dir::DataDir;
use crate::storage::journal::error::JournalError;
use crate::storage::journal::journal::JournalOptions;

/// The owner of the machines.
pub trait Applier {
    /// An entry that was appended here is committed; the owner still has its batch.
    fn apply_own(&self, partition: PartitionId, index: LogIndex);

    /// An entry from disk or from another node is committed.
    fn apply_foreign(&self, partition: PartitionId, index: LogIndex, entry: &[u8]) -> Result<(), Malformed>;

    /// An entry without commands is committed.
    fn skip(&self, partition: PartitionId, index: LogIndex);

    fn applied(&self, partition: PartitionId) -> LogIndex;

    /// The machine as it is now, cheaply.
    fn image(&self, partition: PartitionId) -> Machine;

    /// Replaces the machine by one that was read from a checkpoint.
    fn install(&self, partition: PartitionId, machine: Machine);
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is synced.
    #[default]
    Fsync,
    /// When the operating system has it. It is synced at most `interval` later, if [`Committer::sync_if_due`] is
    /// called often enough: a power failure may take that much, a crash of the process nothing.
    Relaxed { interval: Duration },
}

#[derive(Debug, Clone, Default)]
pub struct CommitterOptions {
    pub replication: Replication,
    pub durability: Durability,
    pub flush: FlushPolicy,
    /// Partitions, salt and `create` are taken from the data directory.
    pub journal: JournalOptions,
}

impl From<&Config> for CommitterOptions {
    fn from(config: &Config) -> Self {
        let interval = Duration::from_millis(config.sync_interval_ms);
        CommitterOptions {
            replication: config.replication,
            durability: match config.durability {
                config::Durability::Fsync => Durability::Fsync,
                config::Durability::Relaxed => Durability::Relaxed { interval },
            },
            flush: config.flush_policy,
            journal: JournalOptions {
                file_bytes: config.journal_file_bytes,
                prepare_next: true,
                ..JournalOptions::default()
            },
        }
    }
}

/// Why entries are not committed, or a checkpoint is not written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing more is acknowledged by this process.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal is untouched; nothing is lost.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The latch was tripped before.
    #[error("{reason}")]
    Stopped { reason: String },
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Why the data of a partition cannot be brought into memory. Nothing is served then.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("partition {}: the checkpoint at entry {} does not decode: {source}", partition.0, index.0)]
    Image { partition: PartitionId, index: LogIndex, source: Malformed },
    #[error("partition {}: the checkpoint at entry {} holds the machine of entry {}", partition.0, index.0, found.0)]
    OtherImage { partition: PartitionId, index: LogIndex, found: LogIndex },
    #[error(
        "partition {}: the journal starts behind entry {}, but the newest checkpoint is of entry {}: one was lost",
        partition.0, purged.0, index.0
    )]
    CheckpointMissing { partition: PartitionId, purged: LogIndex, index: LogIndex },
    #[error("partition {}: entry {} of the journal does not decode: {source}", partition.0, index.0)]
    Entry { partition: PartitionId, index: LogIndex, source: Malformed },
    #[error("partition {}: {reason}", partition.0)]
    Raft { partition: PartitionId, reason: String },
}

/// The committer of a worker's partitions.
#[expect(clippy::large_enum_variant, reason = "a worker has one, and does not move it")]
pub enum Committer {
    Local(LocalCommitter),
    Raft(RaftCommitter),
}

impl Committer {
    /// Opens the journal of a directory. Follow with [`Committer::recover`].
    pub fn open(
        fs: Arc<dyn Fs>,
        data_dir: &DataDir,
        options: impl Into<CommitterOptions>,
        latch: Latch,
    ) -> Result<Committer, OpenError> {
        let options = options.into();
        let replication = options.replication;
        let disk = Disk::open(fs, data_dir, options, latch)?;
        Ok(match replication {
            Replication::Local => Committer::Local(LocalCommitter::new(disk)),
            Replication::Raft => Committer::Raft(RaftCommitter::new(data_dir.meta().node_id, disk)),
        })
    }

    /// Brings every machine to the end of what is committed; only then may anything be served (R2). Call it once, for
    /// Raft on the worker's thread within its `LocalSet`. The Raft committer keeps the applier, weakly, and calls it
    /// from its own tasks: it must not be borrowed across an await.
    pub async fn recover(&self, applier: Rc<dyn Applier>) -> Result<(), OpenError> {
        match self {
            Committer::Local(local) => local.recover(&*applier),
            Committer::Raft(raft) => raft.start(&applier).await,
        }
    }

    /// Appends an entry to a partition's log; [`Committer::commit`] makes it count.
    pub fn append(&self, partition: PartitionId, entry: &[u8]) {
        match self {
            Committer::Local(local) => local.append(partition, entry),
            Committer::Raft(raft) => raft.append(partition, entry),
        }
    }

    /// Commits what was appended, and has it applied in order, by the time this returns. On an error the latch is
    /// tripped, and nothing more is applied. May be dropped while it waits: nothing is forgotten, the next call goes on.
    pub async fn commit(&self, applier: &dyn Applier) -> Result<(), CommitError> {
        match self {
            Committer::Local(local) => local.commit(applier).await,
            Committer::Raft(raft) => raft.commit().await,
        }
    }

    /// Writes a checkpoint of every partition beside the traffic and purges the journal. An error with the latch not
    /// tripped leaves everything as it was.
    pub async fn checkpoint(&self, applier: &dyn Applier) -> Result<(), CommitError> {
        match self {
            Committer::Local(local) => local.checkpoint(applier).await,
            Committer::Raft(raft) => raft.checkpoint(applier).await,
        }
    }

    /// Reads the machines from disk again. Nothing may be on its way.
    pub fn rebuild(&self, applier: &dyn Applier) -> Result<(), OpenError> {
        match self {
            Committer::Local(local) => local.recover(applier),
            Committer::Raft(raft) => raft.rebuild(applier),
        }
    }

    /// How long until [`Committer::sync_if_due`] has something to do; `None` with [`Durability::Fsync`].
    pub fn sync_due_in(&self) -> Option<Duration> {
        self.disk().sync_due_in()
    }

    /// Syncs what is written and has waited for its interval: for [`Durability::Relaxed`], to be called by a timer.
    pub async fn sync_if_due(&self) -> Result<(), CommitError> {
        self.disk().sync_if_due().await
    }

    /// Syncs everything that is written. A failure trips the latch.
    pub async fn sync(&self) -> Result<(), CommitError> {
        self.disk().flush().await
    }

    /// Syncs everything: the end of an orderly stop.
    pub async fn stop(&self) -> Result<(), CommitError> {
        if let Committer::Raft(raft) = self {
            raft.shut_down().await;
        }
        self.disk().flush().await
    }

    /// For statistics: how long the latest sync took, if there was one since this was asked last.
    pub fn take_last_sync(&self) -> Option<Duration> {
        self.disk().take_last_sync()
    }

    /// Whether a checkpoint is worth its writing: the journal has grown to `journal_bytes_min` since the newest one, and
    /// to that one's size. So checkpoints write at most as much as the journal does, however large the state is.
    pub fn is_checkpoint_due(&self, journal_bytes_min: u64) -> bool {
        let disk = self.disk();
        disk.bytes_since_checkpoint() >= journal_bytes_min.max(disk.checkpoint_bytes())
    }

    /// Journal bytes that a restart would read beyond the newest checkpoint, about.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.disk().bytes_since_checkpoint()
    }

    /// Bytes of the newest checkpoints of all partitions, about.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.disk().checkpoint_bytes()
    }

    pub fn name(&self) -> &'static str {
        match self {
            Committer::Local(_) => "local",
            Committer::Raft(_) => "raft",
        }
    }

    fn disk(&self) -> &Disk {
        match self {
            Committer::Local(local) => local.disk(),
            Committer::Raft(raft) => raft.disk(),
        }
    }
}
