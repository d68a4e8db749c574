//! One partition's Raft group, with this node as its only member.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{Config, EntryPayload, SnapshotPolicy};

use crate::model::log::{LogId, PartitionId, Term};
use crate::replication::committer::OpenError;
use crate::replication::durable_log::DurableLog;
use crate::replication::raft::flushes::Flushes;
use crate::replication::raft::log_store::{GroupLog, LogStore, is_sole_voter};
use crate::replication::raft::network::NoPeers;
use crate::replication::raft::outbox::Outbox;
use crate::replication::raft::record;
use crate::replication::raft::snapshot;
use crate::replication::raft::state_machine::{Applied, StateMachine};
use crate::replication::raft::types::{Membership, Raft, StoredMembership, Vote};
use crate::state::machine::Machine;
use crate::storage::journal::record::RecordKind;

pub struct Group {
    pub raft: Raft,
    pub applied: Rc<Applied>,
}

/// Time limit for a sole voter to lead: it waits for no other node.
const LEAD_WITHIN: Duration = Duration::from_secs(60);

impl Group {
    /// Opens a partition as a group of `node` alone; returns its machine, which has applied every entry known
    /// as committed. When this returns, the group leads.
    pub async fn open(
        node: u64,
        partition: PartitionId,
        flushes: &Rc<Flushes>,
        outbox: &Rc<Outbox>,
    ) -> Result<(Group, Machine), OpenError> {
        let log = GroupLog::new(node, partition, Rc::clone(flushes));
        let applied = Applied::new(Rc::clone(&log), Rc::clone(outbox));
        let recovery = Recovery { node, durable_log: flushes.durable_log(), applied: &applied };
        let mut recovered = recovery.recover()?;
        recovery.check_members(&recovered.membership)?;
        recovery.found(&mut recovered)?;
        let may_lead = recovery.may_lead()?;
        let membership = recovered.membership.membership();
        let is_sole_voter = is_sole_voter(node, membership);
        log.membership_changed(&mut flushes.journal().borrow_mut(), membership);

        let failed =
            |reason: String| OpenError::Raft { partition, reason: format!("Raft did not start: {reason}") };
        let config = config(partition, is_sole_voter).map_err(|error| failed(error.to_string()))?;
        let machine = StateMachine::new(Rc::clone(&applied));
        let store = LogStore::new(Rc::clone(&log));
        log.set_opening(true);
        let raft = Raft::new(node, Arc::new(config), NoPeers, store, machine).await;
        log.set_opening(false);
        let raft = raft.map_err(|error| failed(error.to_string()))?;
        if !may_lead {
            raft.trigger().elect(false).await.map_err(|error| failed(error.to_string()))?;
        }
        // The engine applies the blank entry of an election, and it does not run yet.
        raft.wait(Some(LEAD_WITHIN))
            .metrics(|metrics| metrics.state.is_leader(), "leads")
            .await
            .map_err(|error| failed(error.to_string()))?;
        tokio::task::spawn_local(watch(raft.clone(), Rc::clone(&applied), Rc::clone(outbox)));
        Ok((Group { raft, applied }, recovered.machine))
    }
}

/// Notifies the outbox when the node loses leadership of the group, and when the group stops.
async fn watch(raft: Raft, applied: Rc<Applied>, outbox: Rc<Outbox>) {
    let partition = applied.partition();
    let mut changes = raft.server_metrics();
    let all = raft.metrics();
    // Otherwise the watch would keep the group alive.
    drop(raft);
    let mut was_leader = true;
    loop {
        let is_leader = changes.borrow_watched().state.is_leader();
        if was_leader && !is_leader {
            outbox.lose_all(partition);
        }
        was_leader = is_leader;
        if changes.changed().await.is_err() {
            break;
        }
    }
    if applied.is_closed() {
        return outbox.lose_all(partition);
    }
    let reason = match &all.borrow_watched().running_state {
        Ok(()) => "its task ended".into(),
        Err(fatal) => fatal.to_string(),
    };
    tracing::error!(partition = partition.0, reason, "a Raft group stopped");
    outbox.fail_group(partition, reason);
    // No more entries of the group are applied.
    applied.close();
}

/// Recovery before openraft opens the files.
struct Recovery<'a> {
    node: u64,
    durable_log: &'a Rc<DurableLog>,
    applied: &'a Rc<Applied>,
}

struct Recovered {
    machine: Machine,
    /// The newest membership of the log, known as committed or not: it is the one in force.
    membership: StoredMembership,
}

impl Recovery<'_> {
    /// The newest checkpoint, then the later entries that are known as committed. openraft would do this too,
    /// but in pieces of 64 entries of any size.
    ///
    /// If this node alone makes every quorum, or there never was another node, durable entries are committed.
    /// Otherwise the current leader decides about the entries after the last one recorded as committed:
    /// another leader may have replaced them.
    fn recover(&self) -> Result<Recovered, OpenError> {
        let partition = self.applied.partition();
        let (mut machine, checkpoint) = self.durable_log.load_machine(partition)?;
        let index = machine.applied();
        let malformed = |source| OpenError::Image { partition, index, source };
        let mut in_force = StoredMembership::default();
        if let Some(checkpoint) = checkpoint {
            let meta = snapshot::snapshot_meta(&checkpoint).map_err(malformed)?;
            in_force = meta.last_membership.clone();
            self.applied.set_snapshot(meta);
        }
        let membership = self.newest_membership()?.unwrap_or_else(|| in_force.clone());
        let is_alone =
            membership == StoredMembership::default() || is_sole_voter(self.node, membership.membership());
        let upto = if is_alone { self.last() } else { self.committed() };
        self.durable_log.replay(partition, &mut machine, upto.index, &mut |log_record| {
            let entry = record::decode_entry(log_record)?;
            if let EntryPayload::Membership(members) = entry.payload {
                in_force = StoredMembership::new(Some(entry.log_id), members);
            }
            Ok(())
        })?;
        let journal = self.durable_log.journal().borrow();
        let applied = journal.log(partition).log_id(machine.applied()).unwrap_or_default();
        self.applied.recovered(record::to_raft(applied), in_force);
        Ok(Recovered { machine, membership })
    }

    /// The newest membership after the checkpoint.
    fn newest_membership(&self) -> Result<Option<StoredMembership>, OpenError> {
        let partition = self.applied.partition();
        let journal = self.durable_log.journal().borrow();
        let Some(index) = journal.log(partition).last_membership() else { return Ok(None) };
        let records = journal.read(partition, index..index.next(), 0)?;
        let malformed = |source| OpenError::Entry { partition, index, source };
        let entry = record::decode_entry(&records[0]).map_err(malformed)?;
        match entry.payload {
            EntryPayload::Membership(members) => Ok(Some(StoredMembership::new(Some(entry.log_id), members))),
            _ => unreachable!("the index names memberships"),
        }
    }

    fn last(&self) -> LogId {
        self.durable_log.journal().borrow().log(self.applied.partition()).last()
    }

    fn committed(&self) -> LogId {
        self.durable_log.journal().borrow().log(self.applied.partition()).committed()
    }

    fn vote(&self) -> Result<Option<Vote>, OpenError> {
        let journal = self.durable_log.journal().borrow();
        let vote = journal.log(self.applied.partition()).vote().map(record::decode_vote).transpose();
        vote.map_err(|source| self.refused(format!("the vote does not decode: {source}")))
    }

    fn refused(&self, reason: String) -> OpenError {
        OpenError::Raft { partition: self.applied.partition(), reason }
    }

    /// Accepts a membership without members, or with this node alone.
    fn check_members(&self, stored: &StoredMembership) -> Result<(), OpenError> {
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
        if *stored != StoredMembership::default() && members.voter_ids().next().is_none() {
            return Err(self.refused("no node has a vote in it".into()));
        }
        Ok(())
    }

    /// A partition that is new, or was written by a node without a cluster, becomes a group of one: a vote
    /// that is already won, and a membership. `Raft::initialize` would do it for an empty log only, with an
    /// additional election and blank entry.
    fn found(&self, recovered: &mut Recovered) -> Result<(), OpenError> {
        let partition = self.applied.partition();
        let last = self.last();
        let term = Term(last.term.0.max(1));
        let vote = self.vote()?;
        let mut journal = self.durable_log.journal().borrow_mut();
        // Without a vote, or with a vote older than its entries, the node wrote alone.
        if vote.is_none_or(|vote| vote.leader_id.term < last.term.0) {
            let vote = Vote::new_committed(term.0, self.node);
            journal.append_vote(partition, &record::encode_vote(&vote));
        }
        if recovered.membership == StoredMembership::default() {
            let members = Membership::new_with_defaults(vec![BTreeSet::from([self.node])], []);
            let log_id = LogId { term, index: last.index.next() };
            journal.append(partition, log_id, RecordKind::Membership, &record::encode_membership(&members));
            recovered.machine.skip(log_id.index);
            let raft_log_id = record::to_raft(log_id);
            recovered.membership = StoredMembership::new(raft_log_id, members);
            self.applied.recovered(raft_log_id, recovered.membership.clone());
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

/// A sole voter needs no timer: it leads from its own vote, or is told to elect itself, and has no peer for
/// heartbeats. The times matter once there are other members.
fn config(partition: PartitionId, is_sole_voter: bool) -> Result<Config, openraft::ConfigError> {
    Config {
        cluster_name: format!("partition-{}", partition.0),
        heartbeat_interval: 250,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        heartbeat_min_interval: Some(250),
        enable_tick: false,
        enable_pre_vote: Some(true),
        // A sole voter applies all durable entries before openraft starts, so a restored leader is never
        // stale. Other nodes need an election.
        enable_leader_restore: Some(is_sole_voter),
        // The committer decides about checkpoints and purges, by bytes.
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

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
