//! openraft's log of one partition, over the journal that all partitions share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, LogState, RaftLogReader};

use crate::model::log::{LogIndex, PartitionId};
use crate::replication::disk::Disk;
use crate::replication::raft::flushes::Flushes;
use crate::replication::raft::record;
use crate::replication::raft::types::{Entry, RaftLogId, Types, Vote, io_error};
use crate::storage::journal::record::RecordKind;

/// A handle; clones are the same log, so that every reader sees an entry as soon as it is appended.
#[derive(Debug, Clone)]
pub struct LogStore {
    log: Rc<GroupLog>,
}

/// What the handles of one partition share.
#[derive(Debug)]
pub struct GroupLog {
    partition: PartitionId,
    flushes: Rc<Flushes>,
    /// Entries that are not applied yet: openraft reads each of them back to apply it. Consecutive, up to the last
    /// entry of the log; bounded by what the worker has in flight.
    unapplied: RefCell<VecDeque<Entry>>,
    /// Whether this node alone makes a quorum.
    is_sole_voter: Cell<bool>,
}

impl GroupLog {
    pub fn new(partition: PartitionId, flushes: Rc<Flushes>) -> Rc<GroupLog> {
        Rc::new(GroupLog {
            partition,
            flushes,
            unapplied: RefCell::default(),
            is_sole_voter: Cell::new(false),
        })
    }

    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    pub fn disk(&self) -> &Rc<Disk> {
        self.flushes.disk()
    }

    pub fn set_sole_voter(&self, is_sole_voter: bool) {
        self.is_sole_voter.set(is_sole_voter);
    }

    /// Entries up to `raft_index` are applied: the memory of their payloads is let go.
    pub fn applied(&self, raft_index: u64) {
        let mut unapplied = self.unapplied.borrow_mut();
        while unapplied.front().is_some_and(|entry| entry.log_id.index <= raft_index) {
            unapplied.pop_front();
        }
    }

    /// The entries of `start..end` if memory has all of them.
    fn unapplied(&self, start: u64, end: u64) -> Option<Vec<Entry>> {
        let unapplied = self.unapplied.borrow();
        let skip = start.checked_sub(unapplied.front()?.log_id.index)?;
        let entries = unapplied.iter().skip(usize::try_from(skip).ok()?);
        Some(entries.take_while(|entry| entry.log_id.index < end).cloned().collect())
    }
}

impl LogStore {
    pub fn new(log: Rc<GroupLog>) -> LogStore {
        LogStore { log }
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        if let Some(entries) = self.log.unapplied(start, end) {
            return Ok(entries);
        }
        let range = LogIndex(start.saturating_add(1))..LogIndex(end.saturating_add(1));
        let journal = self.log.flushes.journal().borrow();
        let records = journal.read(self.log.partition, range, usize::MAX).map_err(io_error)?;
        records.iter().map(|record| record::decode_entry(record).map_err(io_error)).collect()
    }

    /// Stops early after about [`SEND_BYTES`]: openraft limits what it sends by entries alone.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let range = LogIndex(start.saturating_add(1))..LogIndex(end.saturating_add(1));
        let journal = self.log.flushes.journal().borrow();
        let records = journal.read(self.log.partition, range, SEND_BYTES).map_err(io_error)?;
        records.iter().map(|record| record::decode_entry(record).map_err(io_error)).collect()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let journal = self.log.flushes.journal().borrow();
        journal.log(self.log.partition).vote().map(record::decode_vote).transpose().map_err(io_error)
    }
}

/// Payload bytes of a request to a follower.
const SEND_BYTES: usize = 1 << 20;

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let journal = self.log.flushes.journal().borrow();
        let log = journal.log(self.log.partition);
        Ok(LogState {
            last_purged_log_id: record::to_raft(log.purged()),
            last_log_id: record::to_raft(log.last()),
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    /// Durable before it returns (S9). The journal keeps the order of votes and entries.
    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.log.flushes.check()?;
        let (sender, receiver) = Types::oneshot();
        self.log.flushes.journal().borrow_mut().append_vote(self.log.partition, &record::encode_vote(vote));
        self.log.flushes.wait(true, IOFlushed::signal(sender));
        receiver.await.map_err(io_error)?
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry>,
    {
        self.log.flushes.check()?;
        let mut must_sync = false;
        {
            let mut journal = self.log.flushes.journal().borrow_mut();
            let mut unapplied = self.log.unapplied.borrow_mut();
            for entry in entries {
                let log_id = record::from_raft(&entry.log_id);
                let members;
                let (kind, payload): (_, &[u8]) = match &entry.payload {
                    EntryPayload::Normal(batch) => (RecordKind::Entry, &batch.0),
                    EntryPayload::Blank => (RecordKind::Blank, &[]),
                    EntryPayload::Membership(membership) => {
                        must_sync = true;
                        members = record::encode_membership(membership);
                        (RecordKind::Membership, &members)
                    }
                };
                journal.append(self.log.partition, log_id, kind, payload);
                unapplied.push_back(entry);
            }
        }
        self.log.flushes.wait(must_sync, callback);
        Ok(())
    }

    /// A record in order: a crash cannot bring back what was cut behind newer entries, so that it need not be durable
    /// before the next append is.
    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> Result<(), io::Error> {
        let index = record::from_raft_option(last.as_ref()).index;
        self.log.flushes.journal().borrow_mut().truncate_after(self.log.partition, index);
        let mut unapplied = self.log.unapplied.borrow_mut();
        while unapplied.back().is_some_and(|entry| record::log_index(entry.log_id.index) > index) {
            unapplied.pop_back();
        }
        Ok(())
    }

    /// Not durable when it returns: a crash only un-purges.
    async fn purge(&mut self, upto: RaftLogId) -> Result<(), io::Error> {
        self.log.flushes.journal().borrow_mut().purge(self.log.partition, record::from_raft(&upto));
        self.log.applied(upto.index);
        // Files go when the purge is durable.
        self.log.flushes.wait(false, IOFlushed::noop());
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> Result<(), io::Error> {
        let journal = self.log.flushes.journal();
        let committed = record::from_raft_option(committed.as_ref());
        // With one voter what is durable is committed: a record for every round would say nothing.
        if !self.log.is_sole_voter.get() && committed > journal.borrow().log(self.log.partition).committed() {
            journal.borrow_mut().append_committed(self.log.partition, committed);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<RaftLogId>, io::Error> {
        let journal = self.log.flushes.journal().borrow();
        let log = journal.log(self.log.partition);
        // What is purged was committed and is in a snapshot: there is nothing to apply again.
        if log.committed() <= log.purged() {
            return Ok(None);
        }
        Ok(record::to_raft(log.committed()))
    }
}
