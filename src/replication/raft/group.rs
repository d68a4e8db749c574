//! One partition's Raft group, of which this node is the only member.

use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, EntryPayload, SnapshotPolicy};

use crate::model::log::{LogId, PartitionId, Term};
use crate::replication::committer::{Applier, OpenError};
use crate::replication::disk::{Disk, Met};
use crate::replication::raft::flushes::Flushes;
use crate::replication::raft::log_store::{GroupLog, LogStore};
use crate::replication::raft::network::NoPeers;
use crate::replication::raft::record;
use crate::replication::raft::snapshot;
use crate::replication::raft::state_machine::{Applied, StateMachine};
use crate::replication::raft::types::{Membership, Raft, StoredMembership, Vote};
use crate::storage::journal::record::RecordKind;

pub struct Group {
    pub raft: Raft,
    pub applied: Rc<Applied>,
}

/// How long a sole voter may take to lead: it has nobody to wait for.
const LEAD_WITHIN: Duration = Duration::from_secs(60);

impl Group {
    /// Opens a partition as the group of `node` alone and applies everything that is durable: with one voter, that is
    /// what is committed. When this returns, the group leads.
    pub async fn open(
        node: u64,
        partition: PartitionId,
        flushes: &Rc<Flushes>,
        applier: &Rc<dyn Applier>,
    ) -> Result<Group, OpenError> {
        let log = GroupLog::new(partition, Rc::clone(flushes));
        let weak: Weak<dyn Applier> = Rc::downgrade(applier);
        let applied = Applied::new(Rc::clone(&log), weak);
        let recovery = Recovery { node, disk: flushes.disk(), applied: &applied, applier: &**applier };
        recovery.recover()?;
        recovery.check_members()?;
        recovery.found()?;
        let may_lead = recovery.may_lead()?;
        log.set_sole_voter(true);

        let failed =
            |reason: String| OpenError::Raft { partition, reason: format!("Raft did not start: {reason}") };
        let config = Arc::new(config(partition).map_err(|error| failed(error.to_string()))?);
        let machine = StateMachine::new(Rc::clone(&applied));
        let raft = Raft::new(node, config, NoPeers, LogStore::new(log), machine)
            .await
            .map_err(|error| failed(error.to_string()))?;
        if !may_lead {
            raft.trigger().elect(false).await.map_err(|error| failed(error.to_string()))?;
        }
        raft.wait(Some(LEAD_WITHIN))
            .metrics(
                |metrics| {
                    metrics.state.is_leader()
                        && metrics.last_applied.map(|applied| applied.index) == metrics.last_log_index
                },
                "leads and has applied its log",
            )
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(Group { raft, applied })
    }
}

/// What happens before openraft gets to see the files.
struct Recovery<'a> {
    node: u64,
    disk: &'a Rc<Disk>,
    applied: &'a Rc<Applied>,
    applier: &'a dyn Applier,
}

impl Recovery<'_> {
    /// The newest checkpoint, then every entry behind it. openraft would do it too, but in pieces of 64 entries whatever
    /// their size, and only up to what it knows to be committed.
    fn recover(&self) -> Result<(), OpenError> {
        let partition = self.applied.partition();
        let mut membership = StoredMembership::default();
        self.disk.recover_partition(self.applier, partition, &mut |met| {
            match met {
                Met::Checkpoint(checkpoint) => {
                    let meta = snapshot::snapshot_meta(checkpoint)?;
                    membership = meta.last_membership.clone();
                    self.applied.set_snapshot(meta);
                }
                Met::Record(log_record) => {
                    let entry = record::decode_entry(log_record)?;
                    if let EntryPayload::Membership(members) = entry.payload {
                        membership = StoredMembership::new(Some(entry.log_id), members);
                    }
                }
            }
            Ok(())
        })?;
        self.applied.recovered(record::to_raft(self.last()), membership);
        Ok(())
    }

    fn last(&self) -> LogId {
        self.disk.journal().borrow().log(self.applied.partition()).last()
    }

    fn vote(&self) -> Result<Option<Vote>, OpenError> {
        let journal = self.disk.journal().borrow();
        let vote = journal.log(self.applied.partition()).vote().map(record::decode_vote).transpose();
        vote.map_err(|source| self.refused(format!("the vote does not decode: {source}")))
    }

    fn refused(&self, reason: String) -> OpenError {
        OpenError::Raft { partition: self.applied.partition(), reason }
    }

    /// No member at all, or this node alone.
    fn check_members(&self) -> Result<(), OpenError> {
        let stored = self.applied.membership();
        let members = stored.membership();
        let others: Vec<String> = members
            .nodes()
            .filter(|&(&node, ())| node != self.node)
            .map(|(node, ())| format!("{node:016x}"))
            .collect();
        if !others.is_empty() {
            let others = others.join(", ");
            return Err(self.refused(format!(
                "it has members on other nodes ({others}), and this version reaches none"
            )));
        }
        if stored != StoredMembership::default() && members.voter_ids().next().is_none() {
            return Err(self.refused("no node has a vote in it".into()));
        }
        Ok(())
    }

    /// A partition that is new, or was written by a node outside of any cluster, becomes a group of one: a vote that
    /// is already won, and a membership. `Raft::initialize` would do it for an empty log only, with an election and a
    /// blank entry on top.
    fn found(&self) -> Result<(), OpenError> {
        let partition = self.applied.partition();
        let last = self.last();
        let term = Term(last.term.0.max(1));
        let vote = self.vote()?;
        let mut journal = self.disk.journal().borrow_mut();
        // Without a vote, or with one that is older than its entries, the node wrote alone.
        if vote.is_none_or(|vote| vote.leader_id.term < last.term.0) {
            let vote = Vote::new_committed(term.0, self.node);
            journal.append_vote(partition, &record::encode_vote(&vote));
        }
        if self.applied.membership() == StoredMembership::default() {
            let members = Membership::new_with_defaults(vec![BTreeSet::from([self.node])], []);
            let log_id = LogId { term, index: last.index.next() };
            journal.append(partition, log_id, RecordKind::Membership, &record::encode_membership(&members));
            self.applier.skip(partition, log_id.index);
            let raft_log_id = record::to_raft(log_id);
            self.applied.recovered(raft_log_id, StoredMembership::new(raft_log_id, members));
            tracing::info!(
                partition = partition.0,
                index = log_id.index.0,
                "a Raft group of this node alone"
            );
        }
        Ok(journal.flush()?)
    }

    /// Whether the durable vote makes this node the leader without an election.
    fn may_lead(&self) -> Result<bool, OpenError> {
        Ok(self.vote()?.is_some_and(|vote| vote.committed && vote.leader_id.voted_for == self.node))
    }
}

/// A sole voter needs no timer: it leads from its own vote, or is told to elect itself, and has nobody to send
/// heartbeats to. The times are for the day when it gets company.
fn config(partition: PartitionId) -> Result<Config, openraft::ConfigError> {
    Config {
        cluster_name: format!("partition-{}", partition.0),
        heartbeat_interval: 250,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        heartbeat_min_interval: Some(250),
        enable_tick: false,
        enable_pre_vote: Some(true),
        // Everything durable is applied before openraft starts, so that a restored leader is never stale.
        enable_leader_restore: Some(true),
        // Checkpoints and purges follow bytes, and the committer says when.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::from(u32::MAX),
        purge_batch_size: 1024,
        max_payload_entries: 64,
        max_append_entries: Some(1024),
        api_batch_linger_ms: 0,
        install_snapshot_timeout: 30_000,
        ..Config::default()
    }
    .validate()
}
