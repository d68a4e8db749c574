//! The committer of a node without a cluster: an entry is committed when it is durable in the journal.

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::signal::Signal;
use crate::model::log::{LogId, PartitionId, ProposalId, Term};
use crate::replication::committer::{CommitError, Durability, OpenError};
use crate::replication::durable_log::{DurableLog, Images};
use crate::replication::event::{CommitEvent, Payload};
use crate::replication::proposals::Proposals;
use crate::state::image::MachineImage;
use crate::state::machine::Machine;
use crate::storage::journal::index::Position;
use crate::storage::journal::record::RecordKind;

/// Lives on the engine's thread; never borrowed across an await.
pub struct LocalCommitter {
    durable_log: DurableLog,
    /// Entries in the journal that are not yet committed, in journal order.
    appended: RefCell<VecDeque<Appended>>,
    proposals: RefCell<Proposals>,
    proposed: Signal,
}

struct Appended {
    partition: PartitionId,
    log_id: LogId,
    proposal: ProposalId,
    /// The entry is committed once the journal is durable up to here.
    end: Position,
}

impl LocalCommitter {
    pub fn new(durable_log: DurableLog) -> LocalCommitter {
        LocalCommitter {
            durable_log,
            appended: RefCell::default(),
            proposals: RefCell::default(),
            proposed: Signal::default(),
        }
    }

    pub fn durable_log(&self) -> &DurableLog {
        &self.durable_log
    }

    pub fn recover(&self) -> Result<Vec<Machine>, OpenError> {
        recover(&self.durable_log)
    }

    pub fn propose(&self, partition: PartitionId, proposal: ProposalId, entry: Bytes) {
        let mut journal = self.durable_log.journal().borrow_mut();
        let last = journal.log(partition).last();
        // A node without a cluster stays in the term of its log.
        let log_id = LogId { term: last.term.max(Term(1)), index: last.index.next() };
        journal.append_shared(partition, log_id, RecordKind::Entry, &entry);
        let end = journal.appended();
        self.proposals.borrow_mut().begin(partition, proposal, entry);
        self.appended.borrow_mut().push_back(Appended { partition, log_id, proposal, end });
        self.proposed.notify();
    }

    pub fn has_room(&self) -> bool {
        !self.durable_log.is_syncing()
    }

    /// Waits for the end of a sync on the flusher: there may be room again.
    pub async fn room_made(&self) {
        self.durable_log.sync_ended().await;
    }

    pub fn has_in_flight(&self) -> bool {
        !self.proposals.borrow().is_empty()
    }

    pub async fn events(&self, out: &mut Vec<CommitEvent>) -> Result<(), CommitError> {
        loop {
            self.durable_log.check_latch()?;
            let first = self.appended.borrow().front().map(|appended| appended.end);
            let Some(first) = first else {
                self.proposed.notified().await;
                continue;
            };
            let committed = match self.durable_log.durability() {
                Durability::Fsync if !cfg!(headwater_bug = "answer_before_sync") => {
                    self.durable_log.flush_up_to(first).await?
                }
                Durability::Fsync | Durability::Relaxed { .. } => self.durable_log.write_up_to(first).await?,
            };
            self.take_up_to(committed, out);
            assert!(!out.is_empty(), "what was written before the sync is durable after it");
            return Ok(());
        }
    }

    fn take_up_to(&self, committed: Position, out: &mut Vec<CommitEvent>) {
        let mut appended = self.appended.borrow_mut();
        let mut proposals = self.proposals.borrow_mut();
        let taken = appended.partition_point(|appended| appended.end <= committed);
        let event = |Appended { partition, log_id, proposal, .. }| CommitEvent::Committed {
            partition,
            log_id,
            payload: Payload::Entry(proposals.end(partition, proposal)),
            proposal: Some(proposal),
        };
        out.extend(appended.drain(..taken).map(event));
    }

    pub fn images(&self, images: &dyn Fn(PartitionId) -> MachineImage) -> Images {
        self.durable_log.images(&|partition| Some((images(partition), Vec::new())))
    }

    /// One partition after the other, each image written on its own thread.
    pub async fn checkpoint(&self, images: Images) -> Result<(), CommitError> {
        for image in images.images {
            let (partition, log_id) = (image.meta.partition, image.meta.log_id);
            self.durable_log.write_image(image).await?;
            self.durable_log.journal().borrow_mut().purge(partition, log_id);
        }
        self.durable_log.checkpoint_done(images.begun).await
    }
}

/// The checkpoint, then the journal after it: everything in the journal is durable, and therefore committed.
pub fn recover(durable_log: &DurableLog) -> Result<Vec<Machine>, OpenError> {
    let recover = |partition| {
        let last = durable_log.journal().borrow().log(partition).last().index;
        let (mut machine, _) = durable_log.load_machine(partition)?;
        // Without a cluster a checkpoint is never ahead of the journal, which is synced before it.
        if machine.applied() > last {
            return Err(OpenError::JournalEndMissing { partition, last, index: machine.applied() });
        }
        let last = durable_log.journal().borrow().log(partition).last().index;
        durable_log.replay(partition, &mut machine, last, &mut |_| Ok(()))?;
        Ok(machine)
    };
    durable_log.partitions().map(recover).collect()
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
