//! The type configuration of openraft.

use std::fmt;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::errors::ClientWriteError;
use openraft::impls::{BoxedErrorSource, InlineBatch, leader_id_std};
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use openraft::vote::RaftLeaderId;

use crate::model::log::{PartitionId, ProposalId};
use crate::replication::event::Refusal;
use crate::replication::raft::outbox::Outbox;
use crate::replication::raft::record;
use crate::replication::raft::state_machine::StateMachine;

/// Written out by hand: `declare_raft_types!` cannot override `Responder`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types;

impl RaftTypeConfig for Types {
    type D = Batch;
    /// The engine makes outcomes, not openraft.
    type R = ();
    type NodeId = u64;
    /// Addresses of nodes are kept outside the log.
    type Node = ();
    type Term = u64;
    /// Standard Raft: one leader per term, so that term and index identify an entry, as in the journal.
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Batch, u64, ()>;
    type Entry = openraft::impls::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = openraft_rt_tokio::TokioRuntime;
    type Responder<T>
        = Done<T>
    where
        T: 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: 'static;
    type ErrorSource = BoxedErrorSource;
}

pub type Raft = openraft::Raft<Types, StateMachine>;
pub type LeaderId = <Types as RaftTypeConfig>::LeaderId;
pub type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
pub type Vote = <Types as RaftTypeConfig>::Vote;
pub type Entry = <Types as RaftTypeConfig>::Entry;
pub type RaftLogId = openraft::LogId<CommittedLeaderId>;
pub type Membership = openraft::Membership<u64, ()>;
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, ()>;
pub type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, u64, ()>;

/// One log entry of commands, encoded. A clone is a reference count.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch(pub Bytes);

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Reports to the outbox where a proposal is committed, or how else it ended; without a channel or a task of
/// its own. Dropped without an answer, it reports an unknown outcome: openraft drops responders when a group
/// dies.
pub struct Done<T> {
    outbox: Rc<Outbox>,
    partition: PartitionId,
    proposal: ProposalId,
    /// Whether the entry was not appended. An appended and abandoned entry is different: another node may
    /// have it and commit it.
    is_refusal: fn(&T) -> bool,
}

impl Done<ClientWriteResult<Types>> {
    pub fn new(outbox: Rc<Outbox>, partition: PartitionId, proposal: ProposalId) -> Self {
        let is_refusal =
            |result: &ClientWriteResult<Types>| matches!(result, Err(ClientWriteError::ForwardToLeader(_)));
        Done { outbox, partition, proposal, is_refusal }
    }
}

impl<T: 'static> Responder<Types, T> for Done<T> {
    fn on_commit(&mut self, log_id: RaftLogId) {
        self.outbox.place(self.partition, record::from_raft(&log_id), self.proposal);
    }

    fn on_complete(self, result: T) {
        // The drop handles the other cases; it does nothing if the proposal has ended.
        if (self.is_refusal)(&result) {
            self.outbox.refuse(self.partition, self.proposal, Refusal::NotLeader);
        }
    }
}

impl<T> Drop for Done<T> {
    fn drop(&mut self) {
        self.outbox.lose(self.partition, self.proposal);
    }
}

/// openraft requires IO errors from storage for all failures.
pub fn io_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::other(error)
}
