//! The Raft committer as the worker sees it: like the local one, with openraft between the batch and the journal.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use openraft::errors::Fatal;

use crate::model::log::PartitionId;
use crate::replication::committer::{Applier, CommitError, OpenError};
use crate::replication::disk::Disk;
use crate::replication::raft::flushes::Flushes;
use crate::replication::raft::group::Group;
use crate::replication::raft::record;
use crate::replication::raft::round::Round;
use crate::replication::raft::snapshot;
use crate::replication::raft::types::{Batch, Done};

/// One per worker. Everything but [`RaftCommitter::new`] must run inside the worker's `LocalSet`.
pub struct RaftCommitter {
    node: u64,
    disk: Rc<Disk>,
    /// In the order of the partitions; empty until [`RaftCommitter::start`].
    groups: OnceCell<Vec<Group>>,
    /// What is appended and not proposed yet, in order.
    appended: RefCell<VecDeque<(PartitionId, Bytes)>>,
    round: Rc<Round>,
}

impl RaftCommitter {
    pub fn new(node: u64, disk: Disk) -> RaftCommitter {
        RaftCommitter {
            node,
            disk: Rc::new(disk),
            groups: OnceCell::new(),
            appended: RefCell::default(),
            round: Rc::default(),
        }
    }

    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Opens every partition's group and brings its machine to the end of the journal. When this returns, the node
    /// leads all of them and may serve. The applier is held weakly from here on. Call it once.
    pub async fn start(&self, applier: &Rc<dyn Applier>) -> Result<(), OpenError> {
        let flushes = Flushes::start(Rc::clone(&self.disk));
        let mut groups = Vec::new();
        for partition in self.disk.partitions() {
            groups.push(Group::open(self.node, partition, &flushes, applier).await?);
        }
        assert!(self.groups.set(groups).is_ok(), "a committer is started once");
        Ok(())
    }

    fn groups(&self) -> &[Group] {
        self.groups.get().expect("the committer is started before it is used")
    }

    /// Takes an entry for the next [`RaftCommitter::commit`].
    pub fn append(&self, partition: PartitionId, entry: &[u8]) {
        self.appended.borrow_mut().push_back((partition, Bytes::copy_from_slice(entry)));
    }

    /// Proposes what was appended, in order, and waits until all of it is committed and applied. Entries of all
    /// partitions share one flush. After an error nothing is known about the entries that were not applied.
    pub async fn commit(&self) -> Result<(), CommitError> {
        self.disk.check_latch()?;
        loop {
            let Some((partition, entry)) = self.appended.borrow_mut().pop_front() else { break };
            let done = Done::new(Rc::clone(&self.round));
            let raft = &self.groups()[usize::from(partition.0)].raft;
            // Waits for room in a channel of 65,536, which a worker with bounded batches in flight never fills.
            if let Err(fatal) = raft.client_write_ff(Batch(entry), Some(done)).await {
                return Err(self.failed(fatal.to_string()));
            }
        }
        self.round.finished().await.map_err(|reason| self.failed(reason))
    }

    /// The journal's own reason, if it has failed, says more than what openraft makes of it.
    fn failed(&self, reason: String) -> CommitError {
        let latch = self.disk.latch();
        latch.trip(reason);
        CommitError::Stopped { reason: latch.reason().unwrap_or_default() }
    }

    /// The file first, then openraft is told: a full disk is then an error of the checkpoint, and not the end of the
    /// group, which every error from openraft's own storage calls is.
    pub async fn checkpoint(&self, applier: &dyn Applier) -> Result<(), CommitError> {
        let mark = self.disk.checkpoint_begun();
        for group in self.groups() {
            let partition = group.applied.partition();
            let meta = group.applied.meta();
            let membership = record::encode_stored(&meta.last_membership);
            let Some(written) = self.disk.checkpoint_partition(applier, partition, membership).await? else {
                continue;
            };
            assert_eq!(
                written,
                snapshot::checkpoint_meta(partition, &meta),
                "applier and Raft agree on what is applied"
            );
            group.applied.tell_snapshot(meta.clone());
            let told = async {
                let raft = &group.raft;
                raft.trigger().snapshot().await?;
                let told = raft.watch_snapshot_progress().wait_until_ge(&meta.last_log_id).await;
                told.map_err(|_| Fatal::Stopped)?;
                if let Some(last) = meta.last_log_id {
                    raft.trigger().purge_log(last.index).await?;
                }
                // What is asked after the purge is answered after it.
                raft.with_raft_state(|_| ()).await
            };
            told.await.map_err(|fatal| self.failed(fatal.to_string()))?;
        }
        self.disk.checkpoint_done(mark).await
    }

    /// Reads the machines from disk again, to where openraft has applied the log.
    pub fn rebuild(&self, applier: &dyn Applier) -> Result<(), OpenError> {
        for partition in self.disk.partitions() {
            self.disk.recover_partition(applier, partition, &mut |_| Ok(()))?;
        }
        Ok(())
    }

    /// Ends the groups and their tasks. What is under way is not waited for.
    pub async fn shut_down(&self) {
        for group in self.groups.get().map(Vec::as_slice).unwrap_or_default() {
            if let Err(error) = group.raft.shutdown().await {
                tracing::warn!(partition = group.applied.partition().0, %error, "a Raft group did not end well");
            }
        }
    }
}
