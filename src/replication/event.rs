//! The events of a committer for the engine: committed entries and the ends of proposals.

use bytes::Bytes;

use crate::model::log::{LogId, LogIndex, PartitionId, ProposalId};
use crate::state::machine::Machine;

/// An event of a partition's log. Events of one partition come in log order.
///
/// Every proposal ends in exactly one event: `Committed` with its id, `Refused`, or `Unknown`.
#[derive(Debug)]
pub enum CommitEvent {
    /// The entry is committed: the engine applies it and reports that with `Committer::applied`.
    Committed {
        partition: PartitionId,
        log_id: LogId,
        payload: Payload,
        /// Set if this process proposed the entry and has not received `Unknown` for it.
        proposal: Option<ProposalId>,
    },
    /// The proposal is not in the log and never will be.
    Refused { partition: PartitionId, proposal: ProposalId, reason: Refusal },
    /// Leadership was lost. The entry may still be committed, now or later: then it comes as `Committed`
    /// without a proposal.
    Unknown { partition: PartitionId, proposal: ProposalId },
    /// A snapshot replaces the machine; its checkpoint is durable. Proposals in flight of the partition have
    /// already ended as `Unknown`. The engine calls `Committer::applied` when the machine is in place. Raft
    /// only.
    Installed { partition: PartitionId, machine: Machine },
    /// The group of the partition has stopped for good, for a reason other than the disk. No more entries of
    /// it are committed; proposals in flight have already ended as `Unknown`. Raft only.
    GroupFailed { partition: PartitionId, reason: String },
}

impl CommitEvent {
    pub fn partition(&self) -> PartitionId {
        match self {
            CommitEvent::Committed { partition, .. }
            | CommitEvent::Refused { partition, .. }
            | CommitEvent::Unknown { partition, .. }
            | CommitEvent::Installed { partition, .. }
            | CommitEvent::GroupFailed { partition, .. } => *partition,
        }
    }

    /// The proposal that ends here.
    pub fn ended(&self) -> Option<ProposalId> {
        match self {
            CommitEvent::Committed { proposal, .. } => *proposal,
            CommitEvent::Refused { proposal, .. } | CommitEvent::Unknown { proposal, .. } => Some(*proposal),
            CommitEvent::Installed { .. } | CommitEvent::GroupFailed { .. } => None,
        }
    }

    /// The argument of `Committer::applied` once the engine has handled the event.
    pub fn applied(&self) -> Option<LogIndex> {
        match self {
            CommitEvent::Committed { log_id, .. } => Some(log_id.index),
            CommitEvent::Installed { machine, .. } => Some(machine.applied()),
            _ => None,
        }
    }
}

/// The content of a committed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A batch of commands. From the local committer: the proposed bytes themselves.
    Entry(Bytes),
    /// No commands: a leader's first entry, or a membership.
    Blank,
}

/// Why a proposal was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this node does not lead the partition")]
    NotLeader,
    #[error("the group of the partition has stopped: {0}")]
    GroupStopped(String),
}
