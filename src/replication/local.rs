//! The committer of a node without a cluster: an entry is committed when it is durable in the journal.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::model::log::{LogId, LogIndex, PartitionId, Term};
use crate::replication::committer::{Applier, CommitError, Durability, OpenError};
use crate::replication::disk::Disk;
use crate::storage::journal::record::RecordKind;

/// Lives on the worker's thread; nothing is borrowed across an await.
pub struct LocalCommitter {
    disk: Disk,
    /// Appended entries that are not applied yet, oldest first.
    pending: RefCell<VecDeque<(PartitionId, LogIndex)>>,
}

impl LocalCommitter {
    pub fn new(disk: Disk) -> LocalCommitter {
        LocalCommitter { disk, pending: RefCell::default() }
    }

    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Checkpoint, then the journal from there on: everything in it is durable, so all of it is committed.
    pub fn recover(&self, applier: &dyn Applier) -> Result<(), OpenError> {
        for partition in self.disk.partitions() {
            self.disk.recover_partition(applier, partition, &mut |_| Ok(()))?;
        }
        Ok(())
    }

    pub fn append(&self, partition: PartitionId, entry: &[u8]) {
        let mut journal = self.disk.journal().borrow_mut();
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
        self.disk.write()?;
        match self.disk.durability() {
            Durability::Fsync => self.disk.sync().await?,
            Durability::Relaxed { .. } => {}
        }
        for _ in 0..entries {
            let front = self.pending.borrow_mut().pop_front();
            let (partition, index) = front.expect("only a commit takes from what is pending");
            applier.apply_own(partition, index);
        }
        Ok(())
    }

    /// One partition after the other, each image written on a thread of its own.
    pub async fn checkpoint(&self, applier: &dyn Applier) -> Result<(), CommitError> {
        let mark = self.disk.checkpoint_begun();
        for partition in self.disk.partitions() {
            if let Some(meta) = self.disk.checkpoint_partition(applier, partition, Vec::new()).await? {
                self.disk.journal().borrow_mut().purge(partition, meta.log_id);
            }
        }
        self.disk.checkpoint_done(mark).await
    }
}

#[cfg(test)]
#[path = "local_test.rs"]
mod tests;
