//! The event queue from all groups to the engine, and the proposals that the events end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::base::latch::Latch;
use crate::model::log::{LogId, PartitionId, ProposalId};
use crate::replication::committer::CommitError;
use crate::replication::event::{CommitEvent, Payload, Refusal};
use crate::replication::proposals::Proposals;
use crate::state::machine::Machine;

/// Shared by the committer and the callbacks of openraft. Never borrowed across an await. Once the latch is
/// tripped no proposal ends any more: the process stops.
#[derive(Debug)]
pub struct Outbox {
    latch: Latch,
    events: RefCell<Vec<CommitEvent>>,
    news: Notify,
    proposals: RefCell<Proposals>,
    /// Log positions of committed proposals that are not handed out yet. openraft reports them before it
    /// reads the entry back.
    places: RefCell<BTreeMap<(PartitionId, LogId), ProposalId>>,
    /// The proposal in transfer to openraft: it is not in the log until openraft has accepted it.
    handing_over: Cell<Option<ProposalId>>,
    failed: RefCell<BTreeSet<PartitionId>>,
}

impl Outbox {
    pub fn new(latch: Latch) -> Outbox {
        Outbox {
            latch,
            events: RefCell::default(),
            news: Notify::new(),
            proposals: RefCell::default(),
            places: RefCell::default(),
            handing_over: Cell::new(None),
            failed: RefCell::default(),
        }
    }

    /// Waits for events and takes all of them.
    pub async fn take(&self) -> Result<Vec<CommitEvent>, CommitError> {
        loop {
            if let Some(reason) = self.latch.reason() {
                return Err(CommitError::Stopped { reason });
            }
            let events = std::mem::take(&mut *self.events.borrow_mut());
            if !events.is_empty() {
                return Ok(events);
            }
            self.news.notified().await;
        }
    }

    /// Makes [`Outbox::take`] check the latch.
    pub fn wake(&self) {
        self.news.notify_one();
    }

    fn push(&self, event: CommitEvent) {
        self.events.borrow_mut().push(event);
        self.news.notify_one();
    }

    pub fn proposals(&self) -> &RefCell<Proposals> {
        &self.proposals
    }

    pub fn has_failed(&self, partition: PartitionId) -> bool {
        self.failed.borrow().contains(&partition)
    }

    /// Begins a proposal and passes it to openraft with `hand_over`.
    pub fn propose(
        &self,
        partition: PartitionId,
        proposal: ProposalId,
        entry: Bytes,
        hand_over: impl FnOnce(),
    ) {
        self.proposals.borrow_mut().begin(partition, proposal, entry);
        if self.has_stopped() {
            return;
        }
        if self.has_failed(partition) {
            self.refuse(partition, proposal, Refusal::GroupStopped("it failed before".into()));
            return;
        }
        self.handing_over.set(Some(proposal));
        hand_over();
        self.handing_over.set(None);
    }

    /// A proposal is committed at a position of the log.
    pub fn place(&self, partition: PartitionId, log_id: LogId, proposal: ProposalId) {
        self.places.borrow_mut().insert((partition, log_id), proposal);
    }

    /// Hands out a committed entry, which ends the proposal at its position. `false` if the group has failed
    /// before: no more of its entries are handed out.
    pub fn commit(&self, partition: PartitionId, log_id: LogId, payload: Payload) -> bool {
        let placed = self.places.borrow_mut().remove(&(partition, log_id));
        if self.has_failed(partition) {
            return false;
        }
        let proposal = placed.filter(|&proposal| {
            let proposed = self.proposals.borrow_mut().end_if_begun(partition, proposal);
            // It may have ended as unknown.
            let Some(entry) = proposed else { return false };
            assert!(payload == Payload::Entry(entry), "{proposal:?} is not what is committed at {log_id:?}");
            true
        });
        self.push(CommitEvent::Committed { partition, log_id, payload, proposal });
        true
    }

    /// Whether the latch is tripped: then the caller that waits for events must get the error.
    fn has_stopped(&self) -> bool {
        let has_stopped = self.latch.is_tripped();
        if has_stopped {
            self.wake();
        }
        has_stopped
    }

    pub fn refuse(&self, partition: PartitionId, proposal: ProposalId, reason: Refusal) {
        if self.has_stopped() {
            return;
        }
        if self.proposals.borrow_mut().end_if_begun(partition, proposal).is_some() {
            self.push(CommitEvent::Refused { partition, proposal, reason });
        }
    }

    /// No result of a proposal will come.
    pub fn lose(&self, partition: PartitionId, proposal: ProposalId) {
        if self.handing_over.get() == Some(proposal) {
            self.refuse(partition, proposal, Refusal::GroupStopped("it takes no proposals".into()));
        } else if !self.has_stopped()
            && self.proposals.borrow_mut().end_if_begun(partition, proposal).is_some()
        {
            self.push(CommitEvent::Unknown { partition, proposal });
        }
    }

    /// The node no longer leads the partition.
    pub fn lose_all(&self, partition: PartitionId) {
        if self.has_stopped() {
            return;
        }
        let lost = self.proposals.borrow_mut().end_all(partition);
        for proposal in lost {
            self.push(CommitEvent::Unknown { partition, proposal });
        }
    }

    pub fn install(&self, partition: PartitionId, machine: Machine) -> bool {
        if self.has_failed(partition) {
            return false;
        }
        self.lose_all(partition);
        self.places.borrow_mut().retain(|&(of, _), _| of != partition);
        self.push(CommitEvent::Installed { partition, machine });
        true
    }

    /// The group has stopped for good. If the disk is the reason, the latch is tripped and the process ends.
    pub fn fail_group(&self, partition: PartitionId, reason: String) {
        if self.has_stopped() {
            return;
        }
        self.lose_all(partition);
        if self.failed.borrow_mut().insert(partition) {
            self.push(CommitEvent::GroupFailed { partition, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::log::{LogIndex, Term};

    const P: PartitionId = PartitionId(0);

    fn at(index: u64) -> LogId {
        LogId { term: Term(1), index: LogIndex(index) }
    }

    fn entry(name: &'static str) -> Bytes {
        Bytes::from_static(name.as_bytes())
    }

    fn take(outbox: &Outbox) -> Vec<(Option<u64>, &'static str)> {
        let events = std::mem::take(&mut *outbox.events.borrow_mut());
        let name = |event: &CommitEvent| match event {
            CommitEvent::Committed { .. } => "committed",
            CommitEvent::Refused { .. } => "refused",
            CommitEvent::Unknown { .. } => "unknown",
            CommitEvent::Installed { .. } => "installed",
            CommitEvent::GroupFailed { .. } => "failed",
        };
        events.iter().map(|event| (event.ended().map(|proposal| proposal.0), name(event))).collect()
    }

    /// Three in flight; the second is refused: the third keeps its identity.
    #[test]
    fn a_refused_proposal_shifts_no_other() {
        let outbox = Outbox::new(Latch::new());
        for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
            outbox.propose(P, ProposalId(number), entry(name), || {});
        }
        outbox.place(P, at(1), ProposalId(1));
        outbox.refuse(P, ProposalId(2), Refusal::NotLeader);
        outbox.place(P, at(2), ProposalId(3));
        assert!(outbox.commit(P, at(1), Payload::Entry(entry("a"))));
        assert!(outbox.commit(P, at(2), Payload::Entry(entry("c"))));
        assert_eq!(take(&outbox), [(Some(2), "refused"), (Some(1), "committed"), (Some(3), "committed")]);
        assert!(outbox.proposals.borrow().is_empty());
    }

    #[test]
    fn what_was_lost_may_still_be_committed_without_its_name() {
        let outbox = Outbox::new(Latch::new());
        outbox.propose(P, ProposalId(1), entry("a"), || {});
        outbox.propose(P, ProposalId(2), entry("b"), || {});
        outbox.place(P, at(1), ProposalId(1));
        outbox.lose_all(P);
        outbox.commit(P, at(1), Payload::Entry(entry("a")));
        // The responder reports it again.
        outbox.lose(P, ProposalId(2));
        assert_eq!(take(&outbox), [(Some(1), "unknown"), (Some(2), "unknown"), (None, "committed")]);
    }

    #[test]
    fn a_group_that_failed_takes_and_gives_nothing_more_and_the_others_go_on() {
        let outbox = Outbox::new(Latch::new());
        let other = PartitionId(1);
        outbox.propose(P, ProposalId(1), entry("a"), || {});
        outbox.propose(other, ProposalId(2), entry("b"), || {});
        outbox.fail_group(P, "why".into());
        outbox.fail_group(P, "again".into());
        outbox.propose(P, ProposalId(3), entry("c"), || panic!("it is not handed over"));
        assert!(!outbox.commit(P, at(1), Payload::Blank));
        outbox.place(other, at(1), ProposalId(2));
        assert!(outbox.commit(other, at(1), Payload::Entry(entry("b"))));
        let expected = [(Some(1), "unknown"), (None, "failed"), (Some(3), "refused"), (Some(2), "committed")];
        assert_eq!(take(&outbox), expected);
    }

    #[test]
    fn what_openraft_does_not_take_is_refused() {
        let outbox = Outbox::new(Latch::new());
        outbox.propose(P, ProposalId(1), entry("a"), || outbox.lose(P, ProposalId(1)));
        assert_eq!(take(&outbox), [(Some(1), "refused")]);
    }

    #[test]
    #[should_panic(expected = "is not what is committed")]
    fn another_entry_than_the_proposed_one_is_noticed() {
        let outbox = Outbox::new(Latch::new());
        outbox.propose(P, ProposalId(1), entry("a"), || {});
        outbox.place(P, at(1), ProposalId(1));
        outbox.commit(P, at(1), Payload::Entry(entry("b")));
    }
}
