//! openraft's own test suite of a log store and a state machine, over real files.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::Stream;
use openraft::storage::{EntryResponder, IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{LogState, RaftLogReader, StorageError};

use crate::base::latch::Latch;
use crate::env::clock::SystemClock;
use crate::env::entropy::SystemEntropy;
use crate::env::fs::{Fs, RealFs};
use crate::env::threads::RealThreads;
use crate::model::log::PartitionId;
use crate::replication::committer::CommitterOptions;
use crate::replication::durable_log::DurableLog;
use crate::replication::event::CommitEvent;
use crate::replication::raft::flushes::Flushes;
use crate::replication::raft::log_store::{GroupLog, LogStore};
use crate::replication::raft::outbox::Outbox;
use crate::replication::raft::record;
use crate::replication::raft::snapshot::{self, Builder as SnapshotBuilder, RaftSnapshot, SnapshotData};
use crate::replication::raft::state_machine::{Applied, StateMachine};
use crate::replication::raft::types::{Entry, RaftLogId, SnapshotMeta, StoredMembership, Types, Vote};
use crate::state::image::MachineImage;
use crate::state::machine::Machine;
use crate::storage::data_dir::{DataDir, DataDirOptions};

/// Several tests of the suite start a log in its middle, which no Raft does: the journal is told that the
/// earlier entries were purged.
struct MiddleStart(LogStore);

impl RaftLogReader<Types> for MiddleStart {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        self.0.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.0.read_vote().await
    }
}

impl RaftLogStorage<Types> for MiddleStart {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        self.0.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.0.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.0.save_vote(vote).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry>,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let first = entries[0].log_id;
        if self.0.get_log_state().await?.last_log_id.is_none() && first.index > 0 {
            self.0.purge(RaftLogId::new(first.leader_id, first.index - 1)).await?;
        }
        self.0.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> Result<(), io::Error> {
        self.0.truncate_after(last).await
    }

    async fn purge(&mut self, upto: RaftLogId) -> Result<(), io::Error> {
        self.0.purge(upto).await
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> Result<(), io::Error> {
        self.0.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<RaftLogId>, io::Error> {
        self.0.read_committed().await
    }
}

/// Includes the engine's part: applies entries and writes the checkpoint of a snapshot.
struct WithEngine {
    inner: StateMachine,
    applied: Rc<Applied>,
    outbox: Rc<Outbox>,
    machine: Machine,
}

impl WithEngine {
    /// The engine's work while openraft waits for it.
    async fn run(machine: &mut Machine, outbox: &Outbox, applied: &Applied) {
        loop {
            for event in outbox.take().await.expect("the disk works") {
                let index = event.applied().expect("the suite proposes nothing");
                match event {
                    CommitEvent::Installed { machine: installed, .. } => *machine = installed,
                    // The suite skips entries.
                    _ => {
                        while machine.applied() < index {
                            let next = machine.applied().next();
                            machine.skip(next);
                        }
                    }
                }
                applied.applied(index);
            }
        }
    }
}

impl RaftStateMachine<Types> for WithEngine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
        self.inner.applied_state().await
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin,
    {
        tokio::select! {
            result = self.inner.apply(entries) => result,
            () = WithEngine::run(&mut self.machine, &self.outbox, &self.applied) => unreachable!("it runs for ever"),
        }
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        let last_membership = self.applied.membership_at(self.machine.applied());
        let meta = SnapshotMeta { last_log_id: self.applied.last(), last_membership };
        let checkpoint = snapshot::checkpoint_meta(self.applied.partition(), &meta);
        assert_eq!(record::from_raft_option(meta.last_log_id.as_ref()).index, self.machine.applied());
        self.applied
            .durable_log()
            .write_checkpoint(checkpoint, MachineImage::of(&self.machine))
            .await
            .unwrap();
        self.applied.tell_snapshot(meta);
        self.inner.try_create_snapshot_builder(force).await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.inner.get_snapshot_builder().await
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), io::Error> {
        tokio::select! {
            result = self.inner.install_snapshot(meta, data) => result,
            () = WithEngine::run(&mut self.machine, &self.outbox, &self.applied) => unreachable!("it runs for ever"),
        }
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot>, io::Error> {
        self.inner.get_current_snapshot().await
    }
}

struct Builder;

struct Guard {
    _dir: tempfile::TempDir,
}

impl StoreBuilder<Types, MiddleStart, WithEngine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, MiddleStart, WithEngine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let data_dir =
            DataDir::open(Arc::clone(&fs), &dir.path().join("data"), DataDirOptions::solo(1), &SystemEntropy)
                .unwrap();
        let latch = Latch::new();
        let clock = Arc::new(SystemClock::new());
        let durable_log = DurableLog::open(
            fs,
            clock,
            Arc::new(RealThreads),
            &data_dir,
            CommitterOptions::default(),
            latch.clone(),
        )
        .unwrap();
        let outbox = Rc::new(Outbox::new(latch));
        let flushes = Flushes::start(Rc::new(durable_log), Rc::clone(&outbox));
        let log = GroupLog::new(1, PartitionId(0), flushes);
        let applied = Applied::new(Rc::clone(&log), Rc::clone(&outbox));
        let inner = StateMachine::new(Rc::clone(&applied));
        let machine = WithEngine { inner, applied, outbox, machine: Machine::new() };
        Ok((Guard { _dir: dir }, MiddleStart(LogStore::new(log)), machine))
    }
}

#[test]
fn the_log_store_and_the_state_machine_pass_openrafts_suite() {
    crate::replication::testing::run(async {
        Suite::test_all(Builder).await.unwrap();
    });
}
