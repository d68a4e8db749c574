//! openraft's log of one partition, over the journal that all partitions share.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, LogState, RaftLogReader};

use crate::model::log::{LogId, LogIndex, PartitionId};
use crate::replication::durable_log::DurableLog;
use crate::replication::raft::flushes::Flushes;
use crate::replication::raft::record;
use crate::replication::raft::types::{Entry, Membership, RaftLogId, Types, Vote, io_error};
use crate::storage::journal::journal::Journal;
use crate::storage::journal::record::RecordKind;

/// A handle; clones share the log, so that every reader sees an entry as soon as it is appended.
#[derive(Debug, Clone)]
pub struct LogStore {
    log: Rc<GroupLog>,
}

/// The shared state of the handles of one partition.
#[derive(Debug)]
pub struct GroupLog {
    partition: PartitionId,
    flushes: Rc<Flushes>,
    node: u64,
    /// Whether this node alone makes every quorum, by the newest membership of the log. It may be `false`
    /// after the truncation of a membership.
    is_sole_voter: Cell<bool>,
    /// The last entry that openraft reported as committed. A sole voter does not record it.
    committed: Cell<LogId>,
    /// openraft is starting: see [`GroupLog::heads`].
    is_opening: Cell<bool>,
}

impl GroupLog {
    pub fn new(node: u64, partition: PartitionId, flushes: Rc<Flushes>) -> Rc<GroupLog> {
        Rc::new(GroupLog {
            partition,
            flushes,
            node,
            is_sole_voter: Cell::new(false),
            committed: Cell::default(),
            is_opening: Cell::new(false),
        })
    }

    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    pub fn durable_log(&self) -> &Rc<DurableLog> {
        self.flushes.durable_log()
    }

    /// The newest membership of the log has changed. When the node ceases to be the sole voter, it records
    /// what is committed, because durable no longer means committed.
    pub fn membership_changed(&self, journal: &mut Journal, membership: &Membership) {
        let was_sole_voter = self.is_sole_voter.replace(is_sole_voter(self.node, membership));
        let committed = self.committed.get();
        if was_sole_voter && !self.is_sole_voter.get() && committed > journal.log(self.partition).committed()
        {
            journal.append_committed(self.partition, committed);
        }
    }

    pub fn set_opening(&self, is_opening: bool) {
        self.is_opening.set(is_opening);
    }

    fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, io::Error> {
        let range = LogIndex(start.saturating_add(1))..LogIndex(end.saturating_add(1));
        let journal = self.flushes.journal().borrow();
        let records = journal.read(self.partition, range, bytes_max).map_err(io_error)?;
        records.iter().map(|record| record::decode_entry(record).map_err(io_error)).collect()
    }

    /// The entries of a range without their commands. While openraft starts it looks for log ids and
    /// memberships in pieces of 64 entries of any size, and applies nothing: recovery has done that.
    fn heads(&self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let journal = self.flushes.journal().borrow();
        let log = journal.log(self.partition);
        let first = LogIndex(start.saturating_add(1)).max(log.purged().index.next());
        let last = LogIndex(end).min(log.last().index);
        let head = |index| {
            let index = LogIndex(index);
            if log.is_membership(index) {
                let records = journal.read(self.partition, index..index.next(), 0).map_err(io_error)?;
                return record::decode_entry(&records[0]).map_err(io_error);
            }
            let log_id = log.log_id(index).expect("the index holds every entry of the log");
            let log_id = record::to_raft(log_id).expect("an entry has an index");
            Ok(Entry { log_id, payload: EntryPayload::Blank })
        };
        (first.0..=last.0).map(head).collect()
    }
}

/// Whether a node alone makes every quorum.
pub fn is_sole_voter(node: u64, membership: &Membership) -> bool {
    let configs = membership.get_joint_config();
    !configs.is_empty() && configs.iter().all(|config| *config == BTreeSet::from([node]))
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
        let (start, end) = bounds(&range);
        match self.log.is_opening.get() {
            true => self.log.heads(start, end),
            // The two functions below read ranges; this one must not stop early.
            false => self.log.read(start, end, usize::MAX),
        }
    }

    /// In pieces: openraft applies any number of entries at once.
    async fn entries_stream<RB: RangeBounds<u64> + Clone + Debug>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> {
        let log = Rc::clone(&self.log);
        let (start, end) = bounds(&range);
        stream::unfold((log, start, Vec::new().into_iter()), move |(log, mut next, mut piece)| async move {
            if piece.len() == 0 && next < end {
                piece = match log.read(next, end, READ_BYTES) {
                    Ok(entries) => entries.into_iter(),
                    Err(error) => return Some((Err(error), (log, end, piece))),
                };
            }
            let entry: Entry = piece.next()?;
            next = entry.log_id.index + 1;
            Some((Ok(entry), (log, next, piece)))
        })
    }

    /// Stops early after about [`READ_BYTES`]: openraft limits requests only by entries.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.log.read(start, end, READ_BYTES)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let journal = self.log.flushes.journal().borrow();
        journal.log(self.log.partition).vote().map(record::decode_vote).transpose().map_err(io_error)
    }
}

/// Payload bytes per read, for a request to a follower or for applying. A longer entry comes alone.
const READ_BYTES: usize = 1 << 20;

/// The first index of a range, and the first index after it.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
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
    (start, end)
}

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

    /// Durable before it returns (docs/reliability.md S9). The journal keeps the order of votes and entries.
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
            for entry in entries {
                let log_id = record::from_raft(&entry.log_id);
                let (kind, payload) = match entry.payload {
                    EntryPayload::Normal(batch) => (RecordKind::Entry, batch.0),
                    EntryPayload::Blank => (RecordKind::Blank, Bytes::new()),
                    EntryPayload::Membership(membership) => {
                        must_sync = true;
                        self.log.membership_changed(&mut journal, &membership);
                        (RecordKind::Membership, record::encode_membership(&membership).into())
                    }
                };
                journal.append_shared(self.log.partition, log_id, kind, &payload);
            }
        }
        self.log.flushes.wait(must_sync, callback);
        Ok(())
    }

    /// A record in order: after a crash, truncated entries cannot reappear behind newer ones, so the record
    /// need not be durable before the next append is.
    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> Result<(), io::Error> {
        let index = record::from_raft_option(last.as_ref()).index;
        let mut journal = self.log.flushes.journal().borrow_mut();
        let newest = journal.log(self.log.partition).last_membership();
        if newest.is_some_and(|membership| membership > index) {
            self.log.is_sole_voter.set(false);
        }
        journal.truncate_after(self.log.partition, index);
        Ok(())
    }

    /// Not durable when it returns: a crash only undoes the purge.
    async fn purge(&mut self, upto: RaftLogId) -> Result<(), io::Error> {
        self.log.flushes.journal().borrow_mut().purge(self.log.partition, record::from_raft(&upto));
        // Files are removed when the purge is durable.
        self.log.flushes.wait(false, IOFlushed::noop());
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> Result<(), io::Error> {
        let journal = self.log.flushes.journal();
        let committed = record::from_raft_option(committed.as_ref());
        self.log.committed.set(committed);
        // With one voter durable entries are committed, so a record per round would add nothing.
        if !self.log.is_sole_voter.get() && committed > journal.borrow().log(self.log.partition).committed() {
            journal.borrow_mut().append_committed(self.log.partition, committed);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<RaftLogId>, io::Error> {
        let journal = self.log.flushes.journal().borrow();
        let log = journal.log(self.log.partition);
        // Purged entries were committed and are in a snapshot, so there is nothing to apply again.
        if log.committed() <= log.purged() {
            return Ok(None);
        }
        Ok(record::to_raft(log.committed()))
    }
}
