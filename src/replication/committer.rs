//! The seam between the engine and the log: the committer decides that an entry is committed.
//!
//! The engine proposes entries under its own ids and takes the committer's events: committed entries, in the
//! order of each partition's log, and the end of each proposal. The engine applies the committed entry that
//! the event carries. Nothing is matched by its position in a queue.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::latch::Latch;
use crate::base::wire::Malformed;
use crate::config::config::{self, Config, DirectWrites, FlushPolicy, Replication};
use crate::env::clock::Clock;
use crate::env::fs::Fs;
use crate::env::threads::Threads;
use crate::model::log::{LogIndex, PartitionId, ProposalId};
use crate::observe::loading::Loading;
use crate::replication::durable_log::DurableLog;
#[cfg(test)]
use crate::replication::durable_log::Images;
use crate::replication::event::CommitEvent;
use crate::replication::local::{self, LocalCommitter};
use crate::replication::raft::committer::RaftCommitter;
#[cfg(test)]
use crate::replication::scripted::ScriptedCommitter;
use crate::state::image::MachineImage;
use crate::state::machine::Machine;
use crate::storage::checkpoint::CheckpointError;
use crate::storage::data_dir::{DataDir, DataDirError};
use crate::storage::journal::error::JournalError;
use crate::storage::journal::options::JournalOptions;

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After its sync.
    #[default]
    Fsync,
    /// After the operating system has accepted it. It is synced at most `interval` later, if
    /// [`Committer::sync_if_due`] is called often enough: a power failure may lose that much, a crash of the
    /// process nothing.
    Relaxed { interval: Duration },
}

#[derive(Debug, Clone, Default)]
pub struct CommitterOptions {
    pub replication: Replication,
    pub durability: Durability,
    pub flush: FlushPolicy,
    /// Relaxed durability never writes directly.
    pub direct_writes: DirectWrites,
    /// Counts what recovery decodes.
    pub loading: Arc<Loading>,
    /// Whether a thread of its own prepares the next journal file.
    pub prepares_next_file: bool,
    /// The data directory supplies partitions, salt and `create`.
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
            direct_writes: config.direct_writes,
            loading: Arc::default(),
            prepares_next_file: true,
            journal: JournalOptions { file_bytes: config.journal_file_bytes, ..JournalOptions::default() },
        }
    }
}

/// Why entries are not committed, or a checkpoint is not written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// This process acknowledges nothing more.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal is untouched and nothing is lost.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The latch was already tripped.
    #[error("{reason}")]
    Stopped { reason: String },
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A checkpoint does not fit on the disk; it was not begun.
    #[error("a checkpoint of {bytes} bytes does not fit: {room} bytes are free beside the reserve")]
    NoRoom { bytes: u64, room: u64 },
}

impl CommitError {
    /// Whether the journal found no space: nothing has changed, and the same may be tried again.
    pub fn is_no_space(&self) -> bool {
        matches!(self, CommitError::Journal(error) if error.is_no_space())
    }
}

/// Why the data of a partition cannot be loaded. Nothing is served then.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
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
    #[error(
        "partition {}: the journal ends at entry {}, but there is a checkpoint of entry {}: its end was lost",
        partition.0, last.0, index.0
    )]
    JournalEndMissing { partition: PartitionId, last: LogIndex, index: LogIndex },
    #[error("partition {}: entry {} of the journal does not decode: {source}", partition.0, index.0)]
    Entry { partition: PartitionId, index: LogIndex, source: Malformed },
    #[error("partition {}: {reason}", partition.0)]
    Raft { partition: PartitionId, reason: String },
}

/// What was read from a data directory. Any thread may read it; [`Committer::start`] continues on the engine's.
pub struct Loaded {
    durable_log: DurableLog,
    replication: Replication,
    node_id: u64,
    /// `None`: the committer reads them when it starts.
    machines: Option<Vec<Machine>>,
}

impl Loaded {
    /// Reads the journal, and with the local committer also the machines.
    pub fn read(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        threads: Arc<dyn Threads>,
        data_dir: &DataDir,
        options: CommitterOptions,
        latch: Latch,
    ) -> Result<Loaded, OpenError> {
        let mut loaded = Loaded::open(fs, clock, threads, data_dir, options, latch)?;
        if loaded.replication == Replication::Local {
            loaded.machines = Some(local::recover(&loaded.durable_log)?);
        }
        Ok(loaded)
    }

    fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        threads: Arc<dyn Threads>,
        data_dir: &DataDir,
        options: CommitterOptions,
        latch: Latch,
    ) -> Result<Loaded, OpenError> {
        let replication = options.replication;
        let durable_log = DurableLog::open(fs, clock, threads, data_dir, options, latch)?;
        Ok(Loaded { durable_log, replication, node_id: data_dir.meta().node_id, machines: None })
    }
}

/// The committer of an engine's partitions, on the engine's thread.
#[expect(clippy::large_enum_variant, reason = "an engine has one, and does not move it")]
pub enum Committer {
    Local(LocalCommitter),
    Raft(RaftCommitter),
    /// Commits, refuses and loses entries by a script.
    #[cfg(test)]
    Scripted(ScriptedCommitter),
}

impl Committer {
    /// Opens the journal of a directory. Call [`Committer::recover`] next.
    pub fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        threads: Arc<dyn Threads>,
        data_dir: &DataDir,
        options: impl Into<CommitterOptions>,
        latch: Latch,
    ) -> Result<Committer, OpenError> {
        Ok(Committer::of(Loaded::open(fs, clock, threads, data_dir, options.into(), latch)?))
    }

    fn of(loaded: Loaded) -> Committer {
        match loaded.replication {
            Replication::Local => Committer::Local(LocalCommitter::new(loaded.durable_log)),
            Replication::Raft => Committer::Raft(RaftCommitter::new(loaded.node_id, loaded.durable_log)),
        }
    }

    /// [`Committer::open`] and [`Committer::recover`] of what was read elsewhere.
    pub async fn start(mut loaded: Loaded) -> Result<(Committer, Vec<Machine>), OpenError> {
        let machines = loaded.machines.take();
        let committer = Committer::of(loaded);
        let machines = match machines {
            Some(machines) => machines,
            None => committer.recover().await?,
        };
        Ok((committer, machines))
    }

    /// Recovers every partition's machine up to the last entry known as committed; nothing may be served
    /// before (docs/reliability.md R2). Returns the machines in partition order. Call it once, for Raft on
    /// the engine's thread within its `LocalSet`.
    pub async fn recover(&self) -> Result<Vec<Machine>, OpenError> {
        match self {
            Committer::Local(local) => local.recover(),
            Committer::Raft(raft) => raft.start().await,
            #[cfg(test)]
            Committer::Scripted(scripted) => Ok(scripted.recover()),
        }
    }

    /// Proposes an entry of a partition. Proposals of one partition enter its log in the order of the calls.
    /// Each ends in exactly one event, unless [`Committer::events`] returns an error: then no proposal ends
    /// any more.
    pub fn propose(&self, partition: PartitionId, proposal: ProposalId, entry: Bytes) {
        match self {
            Committer::Local(local) => local.propose(partition, proposal, entry),
            Committer::Raft(raft) => raft.propose(partition, proposal, entry),
            #[cfg(test)]
            Committer::Scripted(scripted) => scripted.propose(partition, proposal, entry),
        }
    }

    /// Whether the partition should make another proposal now; a proposal made nevertheless is accepted.
    /// Local: no sync is in progress, so that the next sync includes everything gathered meanwhile. Raft:
    /// fewer than 8 entries and 16 MiB of the partition are in flight.
    pub fn has_room(&self, partition: PartitionId) -> bool {
        match self {
            Committer::Local(local) => local.has_room(),
            Committer::Raft(raft) => raft.has_room(partition),
            #[cfg(test)]
            Committer::Scripted(scripted) => scripted.has_room(partition),
        }
    }

    /// How long a round may wait for more work, because what comes then shares its sync; zero where a commit has
    /// none.
    pub fn gather_max(&self) -> Duration {
        self.durable_log().map_or(Duration::ZERO, DurableLog::gather_max)
    }

    /// Waits until there may be room again without an event: another task's sync has ended.
    pub async fn room_made(&self) {
        match self {
            Committer::Local(local) => local.room_made().await,
            Committer::Raft(_) => std::future::pending().await,
            #[cfg(test)]
            Committer::Scripted(_) => std::future::pending().await,
        }
    }

    /// Whether any proposal has not ended.
    pub fn has_in_flight(&self) -> bool {
        match self {
            Committer::Local(local) => local.has_in_flight(),
            Committer::Raft(raft) => raft.has_in_flight(),
            #[cfg(test)]
            Committer::Scripted(scripted) => scripted.has_in_flight(),
        }
    }

    /// Waits for events and appends all of them to `out`: at least one, those of a partition in log order.
    /// The local committer does all its work in this call: one write and one sync for all proposals. With
    /// Raft, events also come from actions of other nodes. Waits without limit while there are no events.
    ///
    /// An error means that the disk failed or the latch was tripped: the process must stop. The future may be
    /// dropped while it waits: nothing is lost, and the next call continues. One call at a time.
    pub async fn events(&self, out: &mut Vec<CommitEvent>) -> Result<(), CommitError> {
        match self {
            Committer::Local(local) => local.events(out).await,
            Committer::Raft(raft) => raft.events(out).await,
            #[cfg(test)]
            Committer::Scripted(scripted) => scripted.events(out).await,
        }
    }

    #[cfg(test)]
    pub async fn next_events(&self) -> Result<Vec<CommitEvent>, CommitError> {
        let mut events = Vec::new();
        self.events(&mut events).await.map(|()| events)
    }

    /// The engine has handled the events of a partition up to the entry at `index` (see
    /// [`CommitEvent::applied`]). The Raft committer hands out only a few MiB of entries ahead of it.
    pub fn applied(&self, partition: PartitionId, index: LogIndex) {
        match self {
            Committer::Local(_) => {}
            Committer::Raft(raft) => raft.applied(partition, index),
            #[cfg(test)]
            Committer::Scripted(scripted) => scripted.applied(partition, index),
        }
    }

    /// Writes a checkpoint of every partition beside the traffic and purges the journal. The engine's current
    /// images are taken before this returns its future. An error without a tripped latch leaves everything
    /// unchanged.
    pub fn checkpoint<'a>(
        &'a self,
        images: &dyn Fn(PartitionId) -> MachineImage,
    ) -> impl Future<Output = Result<(), CommitError>> + use<'a> {
        let taken = match self {
            Committer::Local(local) => local.images(images),
            Committer::Raft(raft) => raft.images(images),
            #[cfg(test)]
            Committer::Scripted(_) => Images::default(),
        };
        async move {
            match self {
                Committer::Local(local) => local.checkpoint(taken).await,
                Committer::Raft(raft) => raft.checkpoint(taken).await,
                #[cfg(test)]
                Committer::Scripted(_) => Ok(()),
            }
        }
    }

    /// Reads the machines from disk again, up to the entry that the engine has applied. Nothing may be in
    /// flight.
    pub fn rebuild(&self) -> Result<Vec<Machine>, OpenError> {
        assert!(!self.has_in_flight(), "the machines are read again while entries are in flight");
        match self {
            Committer::Local(local) => local.recover(),
            Committer::Raft(raft) => raft.rebuild(),
            #[cfg(test)]
            Committer::Scripted(scripted) => Ok(scripted.recover()),
        }
    }

    /// Time until [`Committer::sync_if_due`] has work; `None` with [`Durability::Fsync`].
    pub fn sync_due_in(&self) -> Option<Duration> {
        self.durable_log().and_then(DurableLog::sync_due_in)
    }

    /// Syncs written entries whose interval has passed. A timer calls this for [`Durability::Relaxed`].
    pub async fn sync_if_due(&self) -> Result<(), CommitError> {
        match self.durable_log() {
            Some(durable_log) => durable_log.sync_if_due().await,
            None => Ok(()),
        }
    }

    /// An orderly stop begins: from here on a full disk is an error, and nothing waits for space.
    pub fn stop_waiting(&self) {
        if let Some(durable_log) = self.durable_log() {
            durable_log.stop_waiting();
        }
    }

    /// Looks at the disk of the data directory, with these settings: see [`DurableLog::look_at_space`].
    pub fn look_at_space(&self, reserve: Option<u64>, journal_file_bytes: u64) {
        if let Some(durable_log) = self.durable_log() {
            durable_log.look_at_space(reserve, journal_file_bytes);
        }
    }

    /// Syncs all proposed entries. A failure trips the latch.
    pub async fn sync(&self) -> Result<(), CommitError> {
        match self.durable_log() {
            Some(durable_log) => durable_log.flush().await,
            None => Ok(()),
        }
    }

    /// Ends the groups and syncs everything: the end of an orderly stop. The engine takes no events after it.
    pub async fn stop(&self) -> Result<(), CommitError> {
        if let Committer::Raft(raft) = self {
            raft.shut_down().await;
        }
        match self.durable_log() {
            Some(durable_log) => durable_log.close().await,
            None => Ok(()),
        }
    }

    /// Duration of the latest sync, if one ended since the previous call; for statistics.
    pub fn take_last_sync(&self) -> Option<Duration> {
        self.durable_log().and_then(DurableLog::take_last_sync)
    }

    /// Whether a checkpoint is worth its cost: since the newest one the journal has grown by
    /// `journal_bytes_min`, and by the size of that checkpoint. So checkpoints write at most as much as the
    /// journal does, for any size of the state.
    pub fn is_checkpoint_due(&self, journal_bytes_min: u64) -> bool {
        self.bytes_since_checkpoint() >= journal_bytes_min.max(self.checkpoint_bytes())
    }

    /// The same while space is low: whether the journal holds files that a checkpoint gives back.
    pub fn is_checkpoint_worth_space(&self) -> bool {
        self.durable_log().is_some_and(DurableLog::is_checkpoint_worth_space)
    }

    /// Estimated journal bytes that a restart would read after the newest checkpoint.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.durable_log().map_or(0, DurableLog::bytes_since_checkpoint)
    }

    /// Estimated bytes of the newest checkpoints of all partitions.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.durable_log().map_or(0, DurableLog::checkpoint_bytes)
    }

    pub fn name(&self) -> &'static str {
        match self {
            Committer::Local(_) => "local",
            Committer::Raft(_) => "raft",
            #[cfg(test)]
            Committer::Scripted(_) => "scripted",
        }
    }

    /// `None` for a committer without files.
    fn durable_log(&self) -> Option<&DurableLog> {
        match self {
            Committer::Local(local) => Some(local.durable_log()),
            Committer::Raft(raft) => Some(raft.durable_log()),
            #[cfg(test)]
            Committer::Scripted(_) => None,
        }
    }
}
