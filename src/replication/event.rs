//! What a committer tells the engine: the ends of proposals, and what is committed.

use bytes::Bytes;

use crate::model::log::{LogId, LogIndex, PartitionId, ProposalId};
use crate::state::machine::Machine;

/// Something has happened to a partition's log. The events of one partition come in the order of its log.
///
/// Every proposal ends in exactly one event: `Committed` with its id, `Refused`, or `Unknown`.
#[derive(Debug)]
pub enum CommitEvent {
    /// The entry is committed: the engine applies it, and says so by `Committer::applied`.
    Committed {
        partition: PartitionId,
        log_id: LogId,
        payload: Payload,
        /// Set if this process proposed the entry and has not been told `Unknown` for it.
        proposal: Option<ProposalId>,
    },
    /// The proposal is not in the log and never will be.
    Refused { partition: PartitionId, proposal: ProposalId, reason: Refusal },
    /// Leadership was lost. The entry may still be committed, now or later: then it comes as `Committed`
    /// without a proposal.
    Unknown { partition: PartitionId, proposal: ProposalId },
    /// A snapshot takes the machine's place; its checkpoint is durable. What was in flight of the partition
    /// has ended as `Unknown` before. The engine says `Committer::applied` when the machine is in place. Raft
    /// only.
    Installed { partition: PartitionId, machine: Machine },
    /// The group of the partition has stopped for good, and not because of the disk. Nothing more of it is
    /// committed; what was in flight has ended as `Unknown` before. Raft only.
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

    /// What `Committer::applied` is told once the engine has dealt with the event.
    pub fn applied(&self) -> Option<LogIndex> {
        match self {
            CommitEvent::Committed { log_id, .. } => Some(log_id.index),
            CommitEvent::Installed { machine, .. } => Some(machine.applied()),
            _ => None,
        }
    }
}

/// What is in a committed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A batch of commands. Of the local committer: the very bytes that were proposed.
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
