//! openraft's own test suite of a log store and a state machine, over real files.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::rc::Rc;
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{LogState, RaftLogReader, StorageError};

use crate::base::latch::Latch;
use crate::env::entropy::SystemEntropy;
use crate::env::fs::{Fs, RealFs};
use crate::model::log::PartitionId;
use crate::replication::committer::{Applier, CommitterOptions};
use crate::replication::disk::Disk;
use crate::replication::raft::flushes::Flushes;
use crate::replication::raft::log_store::{GroupLog, LogStore};
use crate::replication::raft::state_machine::{Applied, StateMachine};
use crate::replication::raft::tests::Recorder;
use crate::replication::raft::types::{Entry, RaftLogId, Types, Vote};
use crate::storage::data_dir::DataDir;

/// Several tests of the suite start a log in its middle, which no Raft does: the journal is told that what comes before
/// was purged.
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

struct Builder;

struct Guard {
    _dir: tempfile::TempDir,
}

impl StoreBuilder<Types, MiddleStart, StateMachine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, MiddleStart, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let options = CommitterOptions::default();
        let data_dir = DataDir::open(Arc::clone(&fs), &dir.path().join("data"), 1, &SystemEntropy).unwrap();
        let flushes = Flushes::start(Rc::new(Disk::open(fs, &data_dir, options, Latch::new()).unwrap()));
        let log = GroupLog::new(PartitionId(0), flushes);
        let applier: Rc<dyn Applier> = Rc::new(Recorder::new(1));
        let weak = Rc::downgrade(&applier);
        // The guard must be `Send`, and the state machine holds its applier weakly: it stays as long as the process.
        std::mem::forget(applier);
        let applied = Applied::new(Rc::clone(&log), weak);
        Ok((Guard { _dir: dir }, MiddleStart(LogStore::new(log)), StateMachine::new(applied)))
    }
}

#[test]
fn the_log_store_and_the_state_machine_pass_openrafts_suite() {
    crate::replication::raft::tests::run(async {
        Suite::test_all(Builder).await.unwrap();
    });
}
