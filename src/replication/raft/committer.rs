//! The Raft committer as the engine sees it: like the local one, with openraft between the proposal and the
//! journal.

use std::cell::OnceCell;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::FutureExt;
use openraft::errors::Fatal;

use crate::model::log::{LogIndex, PartitionId, ProposalId};
use crate::replication::committer::{CommitError, OpenError};
use crate::replication::durable_log::{DurableLog, Image, Images};
use crate::replication::event::CommitEvent;
use crate::replication::raft::flushes::Flushes;
use crate::replication::raft::group::Group;
use crate::replication::raft::outbox::Outbox;
use crate::replication::raft::record;
use crate::replication::raft::snapshot;
use crate::replication::raft::types::{Batch, Done};
use crate::state::image::MachineImage;
use crate::state::machine::Machine;

/// Entries in flight of a partition at which the engine should wait.
const ENTRIES_IN_FLIGHT_MAX: usize = 8;

/// Bytes in flight at which the engine should wait; the last entry may exceed it.
const BYTES_IN_FLIGHT_MAX: usize = 16 << 20;

/// One per engine. Every function except [`RaftCommitter::new`] must run inside the engine's `LocalSet`.
pub struct RaftCommitter {
    node: u64,
    durable_log: Rc<DurableLog>,
    outbox: Rc<Outbox>,
    /// In partition order; empty until [`RaftCommitter::start`].
    groups: OnceCell<Vec<Group>>,
}

impl RaftCommitter {
    pub fn new(node: u64, durable_log: DurableLog) -> RaftCommitter {
        let outbox = Rc::new(Outbox::new(durable_log.latch().clone()));
        RaftCommitter { node, durable_log: Rc::new(durable_log), outbox, groups: OnceCell::new() }
    }

    pub fn durable_log(&self) -> &DurableLog {
        &self.durable_log
    }

    /// Opens every partition's group and recovers its machine up to the last entry known as committed. When
    /// this returns, the node leads all of them and may serve. Call it once.
    pub async fn start(&self) -> Result<Vec<Machine>, OpenError> {
        let flushes = Flushes::start(Rc::clone(&self.durable_log), Rc::clone(&self.outbox));
        let mut groups = Vec::new();
        let mut machines = Vec::new();
        for partition in self.durable_log.partitions() {
            let (group, machine) = Group::open(self.node, partition, &flushes, &self.outbox).await?;
            groups.push(group);
            machines.push(machine);
        }
        assert!(self.groups.set(groups).is_ok(), "a committer is started once");
        Ok(machines)
    }

    fn groups(&self) -> &[Group] {
        self.groups.get().expect("the committer is started before it is used")
    }

    pub(super) fn group(&self, partition: PartitionId) -> &Group {
        &self.groups()[usize::from(partition.0)]
    }

    pub fn propose(&self, partition: PartitionId, proposal: ProposalId, entry: Bytes) {
        let raft = &self.group(partition).raft;
        let done = Done::new(Rc::clone(&self.outbox), partition, proposal);
        self.outbox.propose(partition, proposal, entry.clone(), || {
            // It would only wait for room in a channel of 65,536. A proposal that openraft does not accept
            // drops its responder, and so ends as refused.
            let sent = tokio::task::unconstrained(raft.client_write_ff(Batch(entry), Some(done)));
            if let Some(Err(fatal)) = sent.now_or_never() {
                tracing::debug!(partition = partition.0, %fatal, "a Raft group takes no proposals");
            }
        });
    }

    pub fn has_room(&self, partition: PartitionId) -> bool {
        let proposals = self.outbox.proposals().borrow();
        proposals.entries(partition) < ENTRIES_IN_FLIGHT_MAX
            && proposals.bytes(partition) < BYTES_IN_FLIGHT_MAX
    }

    pub fn has_in_flight(&self) -> bool {
        !self.outbox.proposals().borrow().is_empty()
    }

    pub async fn events(&self, out: &mut Vec<CommitEvent>) -> Result<(), CommitError> {
        out.append(&mut self.outbox.take().await?);
        Ok(())
    }

    pub fn applied(&self, partition: PartitionId, index: LogIndex) {
        self.group(partition).applied.applied(index);
    }

    pub fn images(&self, images: &dyn Fn(PartitionId) -> MachineImage) -> Images {
        self.durable_log.images(&|partition| {
            if self.outbox.has_failed(partition) {
                return None;
            }
            let machine = images(partition);
            let membership = self.group(partition).applied.membership_at(machine.applied());
            Some((machine, record::encode_stored(&membership)))
        })
    }

    /// Writes the file first and then notifies openraft: so a full disk is an error of the checkpoint and not
    /// the end of the group, which every error from openraft's own storage calls is. A group that fails
    /// meanwhile is skipped.
    pub async fn checkpoint(&self, images: Images) -> Result<(), CommitError> {
        for image in images.images {
            let partition = image.meta.partition;
            if let Err(fatal) = self.checkpoint_group(image).await? {
                self.durable_log.check_latch()?;
                tracing::warn!(partition = partition.0, %fatal, "a Raft group stopped during its checkpoint");
            }
        }
        self.durable_log.checkpoint_done(images.begun).await
    }

    async fn checkpoint_group(
        &self,
        image: Image,
    ) -> Result<Result<(), Fatal<super::types::Types>>, CommitError> {
        let Group { raft, applied } = self.group(image.meta.partition);
        let meta = snapshot::snapshot_meta(&image.meta).expect("the membership was encoded here");
        self.durable_log.write_image(image).await?;
        let told = async {
            // The engine may be ahead of openraft's view of it.
            let heard = raft.watch_apply_progress().wait_until_ge(&meta.last_log_id).await;
            heard.map_err(|_| Fatal::Stopped)?;
            // A snapshot installed meanwhile is newer, and openraft knows it.
            if applied.tell_snapshot(meta.clone()) {
                raft.trigger().snapshot().await?;
                let told = raft.watch_snapshot_progress().wait_until_ge(&meta.last_log_id).await;
                told.map_err(|_| Fatal::Stopped)?;
            }
            if let Some(last) = meta.last_log_id {
                raft.trigger().purge_log(last.index).await?;
            }
            // A request made after the purge is answered after it.
            raft.with_raft_state(|_| ()).await
        };
        Ok(told.await)
    }

    /// Reads the machines from disk again, up to the entry that the engine has applied.
    pub fn rebuild(&self) -> Result<Vec<Machine>, OpenError> {
        let rebuild = |group: &Group| {
            let partition = group.applied.partition();
            let (mut machine, _) = self.durable_log.load_machine(partition)?;
            self.durable_log.replay(partition, &mut machine, group.applied.engine(), &mut |_| Ok(()))?;
            Ok(machine)
        };
        self.groups().iter().map(rebuild).collect()
    }

    /// Ends the groups and their tasks, without waiting for work in progress.
    pub async fn shut_down(&self) {
        for group in self.groups.get().map(Vec::as_slice).unwrap_or_default() {
            group.applied.close();
            if let Err(error) = group.raft.shutdown().await {
                tracing::warn!(partition = group.applied.partition().0, %error, "a Raft group did not end well");
            }
        }
    }
}
