//! A committer without files and other nodes, for tests: it commits, delays, refuses, loses leadership,
//! truncates and installs snapshots by a script or a seed, and keeps the committed entries, so that a test
//! can replay them.
//!
//! A script is a test that calls [`ScriptedCommitter::commit`] and similar functions; with
//! [`ScriptedCommitter::chaos`] the committer takes such steps itself, at random, while a caller waits for
//! events. The same seed and the same calls give the same events. Partitions are independent: their
//! completions come in any order, within a partition in log order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::env::entropy::SeededEntropy;
use crate::model::log::{LogId, LogIndex, PartitionId, ProposalId, Term};
use crate::replication::committer::CommitError;
use crate::replication::event::{CommitEvent, Payload, Refusal};
use crate::replication::proposals::Proposals;
use crate::replication::replay;
use crate::state::machine::Machine;

/// Lives on one thread, like the other committers.
pub struct ScriptedCommitter {
    logs: Vec<RefCell<ScriptedLog>>,
    proposals: RefCell<Proposals>,
    ready: RefCell<VecDeque<CommitEvent>>,
    news: Notify,
    chaos: Option<SeededEntropy>,
    is_calm: Cell<bool>,
    in_flight_max: Cell<usize>,
    failure: RefCell<Option<String>>,
}

/// One partition's log, from the view of this node.
#[derive(Default)]
struct ScriptedLog {
    term: Term,
    leads: bool,
    has_failed: bool,
    /// Entries in the log that are not committed.
    tail: VecDeque<Tailed>,
    committed: Vec<(LogId, Payload)>,
    /// The last entry handed to the engine, and the last one that the engine has applied.
    told: LogIndex,
    applied: LogIndex,
    /// Number of proposals to refuse although this node leads.
    refusals: usize,
}

struct Tailed {
    term: Term,
    payload: Payload,
    /// Set while the proposal is in flight.
    proposal: Option<ProposalId>,
}

impl ScriptedLog {
    fn commit_oldest(&mut self) -> Option<(LogId, Tailed)> {
        let oldest = self.tail.pop_front()?;
        let index = LogIndex(self.committed.len() as u64 + 1);
        let log_id = LogId { term: oldest.term, index };
        self.committed.push((log_id, oldest.payload.clone()));
        Some((log_id, oldest))
    }

    fn is_busy(&self) -> bool {
        !self.has_failed && (!self.leads || !self.tail.is_empty())
    }
}

impl ScriptedCommitter {
    /// Leads every partition; only calls of the test change anything.
    pub fn new(partitions: u16) -> ScriptedCommitter {
        let log = || RefCell::new(ScriptedLog { term: Term(1), leads: true, ..ScriptedLog::default() });
        ScriptedCommitter {
            logs: (0..partitions).map(|_| log()).collect(),
            proposals: RefCell::default(),
            ready: RefCell::default(),
            news: Notify::new(),
            chaos: None,
            is_calm: Cell::new(false),
            in_flight_max: Cell::new(8),
            failure: RefCell::default(),
        }
    }

    /// Everything happens, by the seed; groups and disks do not fail.
    pub fn chaos(seed: u64, partitions: u16) -> ScriptedCommitter {
        ScriptedCommitter { chaos: Some(SeededEntropy::new(seed)), ..ScriptedCommitter::new(partitions) }
    }

    /// The committer of the next process: what was not committed is lost.
    pub fn restart(&self) -> ScriptedCommitter {
        let next = ScriptedCommitter::new(self.logs.len() as u16);
        for partition in self.partitions() {
            let committed = self.log(partition).borrow().committed.clone();
            let last = LogIndex(committed.len() as u64);
            let mut log = next.log(partition).borrow_mut();
            *log = ScriptedLog {
                committed,
                told: last,
                applied: last,
                term: log.term,
                leads: true,
                ..Default::default()
            };
        }
        next
    }

    fn log(&self, partition: PartitionId) -> &RefCell<ScriptedLog> {
        &self.logs[usize::from(partition.0)]
    }

    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.logs.len() as u16).map(PartitionId)
    }

    fn push(&self, event: CommitEvent) {
        if let Some(index) = event.applied() {
            self.log(event.partition()).borrow_mut().told = index;
        }
        self.ready.borrow_mut().push_back(event);
        self.news.notify_one();
    }

    // What the engine calls: see `Committer`.

    pub fn recover(&self) -> Vec<Machine> {
        self.partitions().map(|partition| self.replay(partition)).collect()
    }

    pub fn propose(&self, partition: PartitionId, proposal: ProposalId, entry: Bytes) {
        self.proposals.borrow_mut().begin(partition, proposal, entry.clone());
        let mut log = self.log(partition).borrow_mut();
        let reason = match &*log {
            log if log.has_failed => Some(Refusal::GroupStopped("as scripted".into())),
            log if !log.leads || log.refusals > 0 => Some(Refusal::NotLeader),
            _ => None,
        };
        if let Some(reason) = reason {
            log.refusals = log.refusals.saturating_sub(1);
            drop(log);
            self.proposals.borrow_mut().end(partition, proposal);
            return self.push(CommitEvent::Refused { partition, proposal, reason });
        }
        let term = log.term;
        log.tail.push_back(Tailed { term, payload: Payload::Entry(entry), proposal: Some(proposal) });
        self.news.notify_one();
    }

    pub fn has_room(&self, partition: PartitionId) -> bool {
        self.proposals.borrow().entries(partition) < self.in_flight_max.get()
    }

    pub fn has_in_flight(&self) -> bool {
        !self.proposals.borrow().is_empty()
    }

    pub async fn events(&self, out: &mut Vec<CommitEvent>) -> Result<(), CommitError> {
        loop {
            if let Some(reason) = &*self.failure.borrow() {
                return Err(CommitError::Stopped { reason: reason.clone() });
            }
            out.extend(self.ready.borrow_mut().drain(..));
            if !out.is_empty() {
                return Ok(());
            }
            match &self.chaos {
                Some(entropy)
                    if !self.is_calm.get() && self.logs.iter().any(|log| log.borrow().is_busy()) =>
                {
                    self.step(entropy);
                    tokio::task::yield_now().await;
                }
                _ => self.news.notified().await,
            }
        }
    }

    pub fn applied(&self, partition: PartitionId, index: LogIndex) {
        let mut log = self.log(partition).borrow_mut();
        assert!(log.applied <= index && index <= log.told, "{partition:?} cannot have applied {index:?} yet");
        log.applied = index;
    }

    // The steps of a script.

    /// Commits the oldest entries of the tail. Entries of a lost leader come without a proposal id.
    pub fn commit(&self, partition: PartitionId, entries: usize) {
        for _ in 0..entries {
            let Some((log_id, Tailed { payload, proposal, .. })) =
                self.log(partition).borrow_mut().commit_oldest()
            else {
                return;
            };
            if let Some(proposal) = proposal {
                let entry = self.proposals.borrow_mut().end(partition, proposal);
                assert_eq!(payload, Payload::Entry(entry));
            }
            self.push(CommitEvent::Committed { partition, log_id, payload, proposal });
        }
    }

    /// Refuses the next proposals, although this node leads.
    pub fn refuse(&self, partition: PartitionId, proposals: usize) {
        self.log(partition).borrow_mut().refusals += proposals;
    }

    /// This node no longer leads: proposals in flight end as unknown. They stay in the log, and may be
    /// committed or truncated later.
    pub fn lose_leadership(&self, partition: PartitionId) {
        self.log(partition).borrow_mut().leads = false;
        self.lose_in_flight(partition);
    }

    fn lose_in_flight(&self, partition: PartitionId) {
        for tailed in &mut self.log(partition).borrow_mut().tail {
            tailed.proposal = None;
        }
        for proposal in self.proposals.borrow_mut().end_all(partition) {
            self.push_unknown(partition, proposal);
        }
    }

    fn push_unknown(&self, partition: PartitionId, proposal: ProposalId) {
        self.ready.borrow_mut().push_back(CommitEvent::Unknown { partition, proposal });
        self.news.notify_one();
    }

    /// Another leader has other entries: only the oldest of the tail stay. This node must not lead.
    pub fn truncate(&self, partition: PartitionId, keep: usize) {
        let mut log = self.log(partition).borrow_mut();
        assert!(!log.leads, "a leader's log is not truncated");
        log.tail.truncate(keep);
    }

    /// Another leader appends an entry. This node must not lead.
    pub fn append_foreign(&self, partition: PartitionId, entry: Bytes) {
        let mut log = self.log(partition).borrow_mut();
        assert!(!log.leads, "a leader's log takes no entries of others");
        let term = log.term;
        log.tail.push_back(Tailed { term, payload: Payload::Entry(entry), proposal: None });
    }

    /// This node leads again, in a new term, which begins with a blank entry.
    pub fn lead(&self, partition: PartitionId) {
        let mut log = self.log(partition).borrow_mut();
        log.term.0 += 1;
        log.leads = true;
        let term = log.term;
        log.tail.push_back(Tailed { term, payload: Payload::Blank, proposal: None });
    }

    /// Another leader commits the whole tail and sends it as a snapshot. This node must not lead.
    pub fn install_snapshot(&self, partition: PartitionId) {
        assert!(!self.log(partition).borrow().leads, "a leader is sent no snapshot");
        self.lose_in_flight(partition);
        while self.log(partition).borrow_mut().commit_oldest().is_some() {}
        let machine = self.replay(partition);
        if machine.applied() > self.log(partition).borrow().told {
            self.push(CommitEvent::Installed { partition, machine });
        }
    }

    pub fn fail_group(&self, partition: PartitionId, reason: &str) {
        self.lose_in_flight(partition);
        let mut log = self.log(partition).borrow_mut();
        (log.has_failed, log.leads) = (true, false);
        log.tail.clear();
        drop(log);
        self.push(CommitEvent::GroupFailed { partition, reason: reason.into() });
    }

    pub fn fail_disk(&self, reason: &str) {
        *self.failure.borrow_mut() = Some(reason.into());
        self.news.notify_one();
    }

    /// Maximum entries of a partition that the engine may have in flight.
    pub fn set_in_flight_max(&self, entries: usize) {
        self.in_flight_max.set(entries);
    }

    /// Ends the chaos: this node leads everywhere, and all logs are committed. Later entries wait for
    /// [`ScriptedCommitter::commit_everything`].
    pub fn calm(&self) {
        self.is_calm.set(true);
        for partition in self.partitions() {
            if self.log(partition).borrow().has_failed {
                continue;
            }
            self.log(partition).borrow_mut().refusals = 0;
            if !self.log(partition).borrow().leads {
                self.lead(partition);
            }
            self.commit(partition, usize::MAX);
        }
    }

    /// Commits all entries of the logs.
    pub fn commit_everything(&self) {
        for partition in self.partitions() {
            self.commit(partition, usize::MAX);
        }
    }

    /// The committed entries, from the first one on.
    pub fn committed(&self, partition: PartitionId) -> Vec<(LogId, Payload)> {
        self.log(partition).borrow().committed.clone()
    }

    /// A machine that has applied the committed entries, for comparison with the engine's.
    pub fn replay(&self, partition: PartitionId) -> Machine {
        let mut machine = Machine::new();
        for (log_id, payload) in &self.log(partition).borrow().committed {
            match payload {
                Payload::Blank => machine.skip(log_id.index),
                Payload::Entry(entry) => {
                    let applied = replay::apply(&mut machine, log_id.index, entry);
                    applied.expect("the engine proposes entries that a machine reads");
                }
            }
        }
        machine
    }

    /// One random step, in a partition with work to do.
    fn step(&self, entropy: &SeededEntropy) {
        let busy: Vec<PartitionId> =
            self.partitions().filter(|&partition| self.log(partition).borrow().is_busy()).collect();
        let partition = busy[entropy.below(busy.len() as u64) as usize];
        let (leads, tail) = {
            let log = self.log(partition).borrow();
            (log.leads, log.tail.len() as u64)
        };
        let some = entropy.below(tail + 1) as usize;
        match entropy.below(20) {
            0..=11 if leads => self.commit(partition, some.max(1)),
            12 | 13 if leads => self.lose_leadership(partition),
            14 if leads => self.refuse(partition, 1),
            // A delay.
            _ if leads => {}
            0..=2 => self.truncate(partition, some),
            3..=6 => self.commit(partition, some),
            7..=12 => self.install_snapshot(partition),
            _ => self.lead(partition),
        }
    }
}

#[cfg(test)]
#[path = "scripted_tests.rs"]
mod tests;
